"""The windows of ``chat.metrics`` as counters and histograms for Prometheus."""
