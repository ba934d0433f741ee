"""Traces by OpenTelemetry, when ``OTEL_EXPORTER_OTLP_ENDPOINT`` says where to; without it none of it is even loaded."""
