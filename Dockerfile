# pinxit in a container: `docker build -t pinxit .`, then `docker run --rm pinxit --help`.
# With CUDA: `docker build --build-arg TORCH=cu130 -t pinxit:cuda .`, then `docker run --gpus all ...`.
# docs/docker.md has the commands, and compose.yaml a server with PostgreSQL.
ARG PYTHON=3.13
FROM python:${PYTHON}-slim AS build

# cpu, or the name of a CUDA build of PyTorch, such as cu130: the last part of its index's address
ARG TORCH=cpu
ARG TORCH_INDEX=https://download.pytorch.org/whl
ARG EXTRAS=serve,postgres,text,explain,hub,parquet,heic

ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
RUN python -m venv /opt/pinxit
ENV PATH=/opt/pinxit/bin:$PATH

# The versions of the lock files: those of the base install by their hashes, those of the extras by
# their versions alone (pip takes no hashes for a part of its requirements). Torch has the build asked
# for. This layer is made again only if these files change.
COPY constraints.txt requirements.lock requirements-test.lock ./
RUN pip install --no-deps --require-hashes --requirement requirements.lock \
    && pip install --constraint constraints.txt --extra-index-url "${TORCH_INDEX}/${TORCH}" torch \
    && sed --quiet --regexp-extended 's/^([a-zA-Z0-9].*) \\$/\1/p' requirements-test.lock > versions.txt

COPY pyproject.toml hatch_build.py README.md LICENSE ./
COPY recipes recipes
COPY src src
RUN pip install --no-build-isolation --constraint versions.txt --constraint constraints.txt ".[${EXTRAS}]"

FROM python:${PYTHON}-slim
COPY --from=build /opt/pinxit /opt/pinxit
# a user that may write runs and the server's store, and nothing else
RUN useradd --create-home --uid 1000 pinxit \
    && mkdir --parents /data /runs /store \
    && chown pinxit:pinxit /data /runs /store
USER 1000
ENV PATH=/opt/pinxit/bin:$PATH PYTHONUNBUFFERED=1
WORKDIR /
VOLUME ["/runs", "/store"]
EXPOSE 8000
ENTRYPOINT ["pinxit"]
CMD ["--help"]
