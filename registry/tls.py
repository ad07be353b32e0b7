"""TLS from the settings: read in each worker, so a renewed certificate needs a reload only."""

import ssl
from pathlib import Path

from registry.config import Settings, SettingsError

_VERSIONS = {"tls1.2": ssl.TLSVersion.TLSv1_2, "tls1.3": ssl.TLSVersion.TLSv1_3}


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """None without TLS; raise SettingsError when the files are missing, unreadable or no pair."""
    tls = settings.http.tls
    if not tls.certificate and not tls.key:
        return None
    if not tls.certificate or not tls.key:
        missing = "http.tls.key" if tls.certificate else "http.tls.certificate"
        raise SettingsError([f"{missing}: TLS needs http.tls.certificate and http.tls.key"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = _VERSIONS[tls.minimumtls]
    context.set_alpn_protocols(["http/1.1"])
    try:
        # An empty password: else OpenSSL would ask for one on the terminal
        context.load_cert_chain(tls.certificate, tls.key, password="")
    except OSError as error:
        raise SettingsError([_problem(tls.certificate, tls.key, error)]) from error
    return context


def tls_warning(context: ssl.SSLContext, settings: Settings) -> str:
    """Why clients will refuse the certificate, such as its age; "" when they won't on its own account.

    It shakes hands with a client of our own that trusts exactly this certificate.
    """
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        client.load_verify_locations(settings.http.tls.certificate)
        _shake_hands(client, context)
    except ssl.SSLCertVerificationError as error:
        return f"http.tls.certificate: clients will refuse it: {error.verify_message}"
    except OSError as error:
        reason = error.reason if isinstance(error, ssl.SSLError) else error.strerror
        raise SettingsError([f"http.tls.certificate: no client can use it: {reason}"]) from error
    return ""


def _shake_hands(client: ssl.SSLContext, server: ssl.SSLContext) -> None:
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [client.wrap_bio(to_client, to_server), server.wrap_bio(to_server, to_client, server_side=True)]
    while ends:
        end = ends.pop(0)
        try:
            end.do_handshake()
        except ssl.SSLWantReadError:
            ends.append(end)


def _problem(certificate: str, key: str, error: OSError) -> str:
    for setting, path in (("http.tls.certificate", certificate), ("http.tls.key", key)):
        try:
            Path(path).read_bytes()
        except OSError as unreadable:
            return f"{setting}: {path}: {unreadable.strerror}"
    reason = error.reason if isinstance(error, ssl.SSLError) else ""
    if reason in ("KEY_VALUES_MISMATCH", "NO_CERTIFICATE_ASSIGNED"):  # the latter when not even the kind fits
        return f"http.tls.key: {key} is not the key of {certificate}"
    return f"http.tls.certificate, http.tls.key: expected PEM files, the key without a password ({reason or error})"
