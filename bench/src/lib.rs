//! Figures of the whole system: throughput, latency, memory.
