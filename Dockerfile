# The command webtext-gpt, from wheels in wheels/; nothing is downloaded but the base image.
#   pip wheel --wheel-dir wheels --constraint constraints.txt '.[deepspeed,hub]'
#   docker build --tag webtext-gpt .
# EXTRAS names the extras whose wheels are there: --build-arg EXTRAS=finetuning,explorer
FROM python:3.12-slim AS installed
ARG EXTRAS=deepspeed,hub
COPY wheels /wheels
RUN python -m venv /opt/webtext-gpt
RUN /opt/webtext-gpt/bin/pip install --no-index --find-links /wheels "webtext-gpt[$EXTRAS]"

FROM python:3.12-slim
COPY --from=installed /opt/webtext-gpt /opt/webtext-gpt
RUN useradd --uid 1000 --create-home --home-dir /data webtext
USER webtext
WORKDIR /data
ENTRYPOINT ["/opt/webtext-gpt/bin/webtext-gpt"]
