"""Authorities and certificates for tests."""

from __future__ import annotations

import datetime as dt
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)
LOCAL = ("localhost", "127.0.0.1")
"""Names of this machine."""


class Authority:
    """Issues certificates into a folder."""

    def __init__(self, folder, name="authority"):
        self._folder, self._key = folder, ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(self._name, self._key, -DAY, DAY)
        made = made.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        made = made.add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), False)
        others = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment")
        usage = dict.fromkeys((*others, "key_agreement", "encipher_only", "decipher_only"), False)
        made = made.add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), True)
        self.certificate = made.sign(self._key, hashes.SHA256())
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(Encoding.PEM))

    def issue(self, name, *hosts, begins=-DAY, ends=DAY, password=None):
        """Write a certificate and its key, and return their paths and its serial number."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = self._builder(subject, key, begins, ends)
        if hosts:
            names = [
                x509.IPAddress(ipaddress.ip_address(one)) if one[0].isdigit() else x509.DNSName(one)
                for one in hosts
            ]
            made = made.add_extension(x509.SubjectAlternativeName(names), False)
        ours = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        made = made.add_extension(ours, False)
        signed = made.sign(self._key, hashes.SHA256())
        places = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        places[0].write_bytes(signed.public_bytes(Encoding.PEM))
        secret = NoEncryption() if password is None else BestAvailableEncryption(password)
        places[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
        return *places, signed.serial_number

    def _builder(self, subject, key, begins, ends):
        now = dt.datetime.now(dt.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begins)
            .not_valid_after(now + ends)
        )
