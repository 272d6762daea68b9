# Easel as an image: every wheel and the starter model are inside, nothing is downloaded at start.
#   docker build -t easel:standard .
#   docker build -t easel:api --build-arg EDITION=api .
#   docker run -p 7860:7860 -v easel-data:/data -e EASEL_TOKEN=… easel:standard
# /state is for --state-dir where /data is a network storage. The edition is a default: -e EASEL_EDITION=…, or --edition … behind the image's name, chooses another at start.
ARG PYTHON=3.11
FROM python:${PYTHON}-slim AS wheels
# What pip installs as torch; for processors alone: --build-arg TORCH="torch==2.13.0 --index-url …/whl/cpu"
ARG TORCH=torch==2.13.0
ARG EXTRAS=queue,ray,s3
WORKDIR /src
COPY . .
RUN grep -v '^torch==' constraints.txt > /constraints.txt \
 && pip wheel --no-cache-dir --wheel-dir /wheels --constraint /constraints.txt ${TORCH} \
 && printf 'torch @ file://%s\n' /wheels/torch-[0-9]*.whl >> /constraints.txt \
 && pip wheel --no-cache-dir --wheel-dir /wheels --find-links /wheels --constraint /constraints.txt ".[${EXTRAS}]" \
 && pip wheel --no-cache-dir --wheel-dir /wheels --no-deps spandrel==0.4.2 einops==0.8.2

FROM python:${PYTHON}-slim
ARG EDITION=standard
ARG EXTRAS=queue,ray,s3
RUN --mount=type=bind,from=wheels,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels "easel-studio[${EXTRAS}]" \
 && pip install --no-cache-dir --no-index --find-links /wheels --no-deps spandrel einops \
 && useradd --create-home --uid 1000 easel \
 && install -d -o easel -g easel /data /state
ENV EASEL_EDITION=${EDITION} \
    EASEL_DATA_DIR=/data \
    RAY_USAGE_STATS_ENABLED=0 \
    HF_HUB_OFFLINE=1 \
    PYTHONUNBUFFERED=1
USER easel
VOLUME /data
EXPOSE 7860
STOPSIGNAL SIGTERM
ENTRYPOINT ["easel"]
CMD ["serve", "--listen", "--port=7860"]
