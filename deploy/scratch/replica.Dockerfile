# The tiny app of the scenarios and of compose.yml, around a static binary (`just image`).
FROM scratch
COPY replica /replica
USER 65532:65532
EXPOSE 3001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=2s --timeout=2s --retries=3 CMD ["/replica", "healthcheck"]
ENTRYPOINT ["/replica"]
