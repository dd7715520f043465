//! Wires the rooms, owns every task, fixes the order of shutdown.
