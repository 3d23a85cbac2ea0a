# The full image has a compiler, for dependencies that bring no wheel for the platform.
FROM python:3.11 AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY streamwf streamwf
COPY agents agents
COPY tables tables
COPY adapters adapters
RUN pip install --no-cache-dir --prefix=/install .

FROM python:3.11-slim
COPY --from=build /install /usr/local
RUN useradd --system --uid 10001 --create-home streamwf && install -d -o streamwf /data
COPY examples /app/examples
WORKDIR /app
USER streamwf
VOLUME /data
EXPOSE 6066
ENTRYPOINT ["streamwf"]
CMD ["--help"]
