# merc on a CPU: the page, or any command, over an exported folder that is mounted at /model. Not built where it was
# written; .github/workflows does not build it either.
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install -y --no-install-recommends git libgomp1 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home merc

WORKDIR /merc
COPY .ci .ci
COPY requirements.txt requirements.lock ./
RUN .ci/setup python3 requirements.lock && rm -rf /root/.cache
COPY --chown=merc . .
ENV PATH=/merc/.venv/bin:$PATH OMP_NUM_THREADS=1
USER merc
EXPOSE 8017
ENTRYPOINT ["python", "-m", "merc"]
CMD ["serve", "--model", "/model", "--host", "0.0.0.0", "--port", "8017", "--open"]
