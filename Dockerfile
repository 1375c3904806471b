# Separation on the CPU, from the tested versions; about 1.9 GB.
#
#   docker build -t separation .
#   docker run --rm -v "$PWD:/work" separation unmix-separate song.mp3 --model mini
#
# Pretrained weights are kept in the volume /models. To have them in an image:
#   RUN separation-registry fetch umxhq
FROM python:3.11-slim

RUN apt-get update \
    && apt-get install -y --no-install-recommends ffmpeg \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /src
COPY constraints constraints
# The headers of TensorFlow are a fifth of it, and nothing is compiled here.
RUN pip install --no-cache-dir --no-deps \
        -c constraints/current.txt -r constraints/separate.txt \
    && rm -rf /usr/local/lib/python3.11/site-packages/tensorflow/include
COPY . .
RUN pip install --no-cache-dir --no-deps .

ENV SEPARATION_CACHE=/models PYTHONSAFEPATH=1
RUN useradd --create-home separation \
    && mkdir /models /work \
    && chown separation /models /work
USER separation
VOLUME /models
WORKDIR /work
CMD ["separation-registry", "list"]
