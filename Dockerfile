# Faxgate as a container image.
#   docker build -t faxgate .
#   docker run -v faxgate:/var/lib/faxgate -v ./gateway.toml:/etc/faxgate/gateway.toml:ro -p 2525:2525 -p 8025:8025 faxgate
# In gateway.toml:  spool = "/var/lib/faxgate",  [smtp] listen = ["0.0.0.0:2525"],  [http] listen = "0.0.0.0:8025".
# Python packages are the ones of the lock file, checked by hash.

FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/faxgate
ENV PATH=/opt/faxgate/bin:$PATH
# First what changes rarely, so that this layer is kept between builds.
COPY .ci/requirements-image.lock .ci/
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r .ci/requirements-image.lock
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
COPY templates templates
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation . && faxgate version

FROM python:3.13-slim
# What documents are converted with: LibreOffice, Pango (for HTML), Tesseract (for received faxes), and typefaces for all
# scripts. The converters lose network and files by Landlock and system call filters, which Docker's own profile allows;
# user namespaces and bubblewrap, which it does not allow, are not needed.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
       libreoffice-writer-nogui libreoffice-calc-nogui libreoffice-impress-nogui \
       libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0 tesseract-ocr \
       fonts-noto-core fonts-noto-cjk fonts-noto-color-emoji fonts-liberation fonts-crosextra-carlito fonts-crosextra-caladea \
    && rm -rf /var/lib/apt/lists/*
# The id is fixed, so that the owner of a volume stays the same from image to image.
RUN groupadd --gid 10515 faxgate \
    && useradd --uid 10515 --gid faxgate --no-create-home --home-dir /var/lib/faxgate --shell /usr/sbin/nologin faxgate \
    && install -d -o faxgate -g faxgate -m 0700 /var/lib/faxgate \
    && install -d /etc/faxgate
COPY --from=build /opt/faxgate /opt/faxgate
ENV PATH=/opt/faxgate/bin:$PATH PYTHONUNBUFFERED=1
USER 10515:10515
WORKDIR /var/lib/faxgate
# The spool: what must be kept and backed up.
VOLUME /var/lib/faxgate
EXPOSE 2525 8025
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s --retries=3 \
    CMD ["python", "-c", "import http.client as h, sys; c = h.HTTPConnection('127.0.0.1', 8025, timeout=4); c.request('GET', '/healthz'); sys.exit(c.getresponse().status != 200)"]
ENTRYPOINT ["faxgate"]
CMD ["serve", "-c", "/etc/faxgate/gateway.toml"]
