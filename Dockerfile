# One image; the command chooses serve, worker or migrate.
FROM python:3.11-slim-bookworm AS build
WORKDIR /srv
COPY requirements/base.txt requirements/base.txt
RUN python -m venv /srv/venv \
 && /srv/venv/bin/pip install --no-cache-dir --require-hashes -r requirements/base.txt
COPY pyproject.toml README.md LICENSE ./
COPY app app
COPY alerts alerts
COPY chem chem
RUN /srv/venv/bin/pip install --no-cache-dir --no-deps --no-build-isolation -e .

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --create-home nps
COPY --from=build --chown=root:root /srv /srv
COPY --chown=root:root alembic /srv/alembic
ENV PATH=/srv/venv/bin:$PATH NPS_DATA_DIR=/data PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /srv
USER nps
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["nps"]
CMD ["serve", "--host", "0.0.0.0", "--insecure"]
