//! Which field a name names, for the fields that some rule asks about.
