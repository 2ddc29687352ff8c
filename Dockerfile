# The page in a container: docker build -t facesym . && docker run -p 7860:7860 --read-only --tmpfs /cache -m 3g facesym
FROM python:3.11-slim

RUN useradd --create-home --uid 1000 visitor
WORKDIR /app
# CPU wheels of torch: a tenth of the CUDA ones.
COPY spaces/requirements.txt .
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu -r requirements.txt
COPY LICENSE zoo.json ./
COPY facesym facesym
COPY spaces spaces

ENV PYTHONDONTWRITEBYTECODE=1 \
    GRADIO_SERVER_NAME=0.0.0.0 \
    GRADIO_SERVER_PORT=7860 \
    GRADIO_TEMP_DIR=/cache/gradio \
    HF_HOME=/cache/huggingface \
    TMPDIR=/cache \
    MALLOC_ARENA_MAX=2 \
    HF_HUB_OFFLINE=1
RUN mkdir /cache && chown visitor /cache
USER visitor
VOLUME /cache
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=10s --start-period=90s \
    CMD ["python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:7860/', timeout=8).read()"]
CMD ["python", "spaces/app.py"]
