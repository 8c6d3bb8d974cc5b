//! What every service shares: settings, telemetry, health, server, shutdown, registration.
