# Around a static binary that cargo has built on this machine (`just image`): needs no registry.
FROM scratch
COPY evenkeel /evenkeel
USER 65532:65532
EXPOSE 8080 9900
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=3s --timeout=2s --retries=3 CMD ["/evenkeel", "healthcheck"]
ENTRYPOINT ["/evenkeel"]
