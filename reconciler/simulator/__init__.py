"""The platform, pretended. `world` says what it does and, at its top, how it differs from the real one."""
