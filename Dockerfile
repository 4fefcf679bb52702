# One image; the command chooses serve, worker or migrate. `python -m tests.image` runs these steps without a container engine.
FROM python:3.11-slim-bookworm AS build
WORKDIR /srv
COPY requirements/base.txt requirements/base.txt
RUN python -m venv --without-pip /srv/venv \
 && pip --python /srv/venv/bin/python install --no-cache-dir --no-compile --require-hashes -r requirements/base.txt
COPY pyproject.toml README.md LICENSE ./
COPY alembic alembic
COPY app app
COPY alerts alerts
COPY chem chem
RUN pip --python /srv/venv/bin/python install --no-cache-dir --no-deps --no-build-isolation -e . \
 && find /srv/venv -depth -type d \( -name tests -o -name test -o -name rdkit-stubs \) -exec rm -rf {} + \
 && /srv/venv/bin/python -m compileall -q /srv/venv/lib /srv/app /srv/alerts /srv/chem

FROM python:3.11-slim-bookworm
RUN useradd --system --uid 10001 --home-dir /data --create-home nps
COPY --from=build --chown=root:root /srv /srv
ENV PATH=/srv/venv/bin:$PATH NPS_DATA_DIR=/data NPS_LOG=json PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
WORKDIR /data
USER 10001
# all that is written lies in /data and /tmp: the rest may be read-only
VOLUME /data
EXPOSE 8000
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
  CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/readyz', timeout=4)"]
ENTRYPOINT ["nps"]
CMD ["serve", "--host", "0.0.0.0", "--insecure"]
