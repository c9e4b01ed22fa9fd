# The cookbook, from nothing but its wheel:
#   pip wheel --no-deps --wheel-dir dist .
#   docker build --tag aiohttp-cookbook .
#   docker run --rm --publish 127.0.0.1:8080:8080 aiohttp-cookbook
FROM python:3.13-slim
RUN --mount=type=bind,source=dist,target=/dist \
    pip install --no-cache-dir /dist/*.whl \
    && useradd --uid 1000 cookbook
USER 1000
EXPOSE 8080
HEALTHCHECK --interval=5s --timeout=3s --start-period=10s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://localhost:8080/healthz', timeout=2)"]
CMD ["aiohttp-cookbook", "--host", "0.0.0.0"]
