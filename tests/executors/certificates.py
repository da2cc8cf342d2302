"""An authority and certificates signed by it, for tests alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from executors.credentials import TlsFiles


def _name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """Signs certificates into a folder."""

    def __init__(self, folder, name="test authority"):
        self.folder, self.name = folder, _name(name)
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.certificate = self._sign(self.name, self.key, timedelta(days=1), authority=True)

    def _sign(self, subject, key, lifetime, *, authority=False):
        now = datetime.now(tz=UTC)
        builder = x509.CertificateBuilder(
            issuer_name=self.name,
            subject_name=subject,
            public_key=key.public_key(),
            serial_number=x509.random_serial_number(),
            not_valid_before=now - timedelta(days=2),
            not_valid_after=now + lifetime,
        ).add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        return builder.sign(self.key, hashes.SHA256())

    def issue(self, names=("ca.pem", "hostcert.pem", "hostkey.pem"), lifetime=timedelta(days=1)):
        """Write the authority, a certificate and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._sign(_name("localhost"), key, lifetime)
        pem = serialization.Encoding.PEM
        contents = (
            self.certificate.public_bytes(pem),
            certificate.public_bytes(pem),
            key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()),
        )
        self.folder.mkdir(exist_ok=True)
        for name, content in zip(names, contents):
            (self.folder / name).write_bytes(content)
        return TlsFiles(*(self.folder / name for name in names))
