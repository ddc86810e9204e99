# The fleet's image: workers, beat, Flower, migrations and the `fleet` commands. See docs/deployment.md.
FROM python:3.13-slim

ENV PYTHONUNBUFFERED=1 \
    PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore

RUN groupadd --system --gid 10001 fleet \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /var/lib/fleet fleet \
    && install --directory --owner=fleet --group=fleet /var/lib/fleet

WORKDIR /app

# Before the sources, so that a change of code installs nothing anew. Wheels only: there is no compiler here.
COPY requirements-fleet.lock ./
RUN pip install --require-hashes --only-binary=:all: --requirement requirements-fleet.lock

COPY alembic.ini pyproject.toml ./
COPY scripts/link.py scripts/link.py
COPY migrations migrations
COPY omninode_bridge omninode_bridge
COPY store store
COPY tasks tasks
COPY worker worker
RUN python -m compileall -q . && python scripts/link.py --system

USER 10001:10001
ENTRYPOINT ["fleet"]
CMD ["worker"]
