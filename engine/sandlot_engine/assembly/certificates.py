"""The engine's own certificate, for the commands that read it off the data folder."""

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID


def own_certificate(chain: bytes) -> tuple[str, str]:
    """The first certificate of a chain in PEM, by itself, and one of the names that it
    is for. Whoever trusts that one by that name needs no authority, nor to reach the
    engine by the name.

    Raises `ValueError` where there is none.
    """
    certificate = x509.load_pem_x509_certificates(chain)[0]
    pem = certificate.public_bytes(Encoding.PEM).decode("ascii")
    return pem, next(iter(_names(certificate)), "").replace("*", "sandlot")


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        found = certificate.extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        ).value
    except x509.ExtensionNotFound:
        common = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
        return [str(one.value) for one in common]
    addresses = found.get_values_for_type(x509.IPAddress)
    return [*found.get_values_for_type(x509.DNSName), *map(str, addresses)]
