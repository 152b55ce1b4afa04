"""The certificates of one cluster: one authority, everyone's pair signed by it, all new with each `up`."""

import datetime as dt
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

LIFETIME = dt.timedelta(days=30)
SKEW = dt.timedelta(hours=1)


class Pair(msgspec.Struct, frozen=True):
    """Where a certificate and its key are."""

    certificate: Path
    key: Path


class Authority:
    """Signs for one cluster; its files and those it makes are in `folder`, keys readable by the owner only."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject("kubernetes-ca", None)
        builder = _builder(self._name, self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=True), critical=True)
        self._write("ca.crt", builder.sign(self._key, hashes.SHA256()))
        self.pair = Pair(folder / "ca.crt", self._write_key("ca.key", self._key))

    def issue(
        self,
        file: str,
        common_name: str,
        organisation: str | None = None,
        names: Sequence[str] = (),
        addresses: Sequence[IPv4Address] = (),
    ) -> Pair:
        """A pair that may serve under `names` and `addresses` and call as user `common_name`, group `organisation`."""
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(_subject(common_name, organisation), self._name, key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(_usage(signs=False), critical=True)
        purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        others: list[x509.GeneralName] = [x509.DNSName(name) for name in names]
        others += [x509.IPAddress(address) for address in addresses]
        if others:
            builder = builder.add_extension(x509.SubjectAlternativeName(others), critical=False)
        self._write(f"{file}.crt", builder.sign(self._key, hashes.SHA256()))
        return Pair(self.folder / f"{file}.crt", self._write_key(f"{file}.key", key))

    def service_account_keys(self) -> Pair:
        """The pair that signs the tokens of pods; `certificate` is the bare public key."""
        key = ec.generate_private_key(ec.SECP256R1())
        public = self.folder / "sa.pub"
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        public.write_bytes(key.public_key().public_bytes(serialization.Encoding.PEM, kind))
        return Pair(public, self._write_key("sa.key", key))

    def _write(self, file: str, certificate: x509.Certificate) -> None:
        (self.folder / file).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _write_key(self, file: str, key: ec.EllipticCurvePrivateKey) -> Path:
        path = self.folder / file
        path.touch(mode=0o600)
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return path


def _subject(common_name: str, organisation: str | None) -> x509.Name:
    parts = [x509.NameAttribute(NameOID.COMMON_NAME, common_name)]
    if organisation:
        parts.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation))
    return x509.Name(parts)


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - SKEW)
        .not_valid_after(now + LIFETIME)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        key_encipherment=False,
        content_commitment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
