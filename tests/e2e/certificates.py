"""Certificates of a test, made by make_certs: of servers, clients, strangers, and some that expired."""
import ssl
import subprocess

from harness import BIN


class Certs:
    def __init__(self, folder):
        folder.mkdir()
        subprocess.run([BIN / "make_certs", folder], check=True)
        self.folder = folder

    def path(self, name):
        return str(self.folder / name)

    def server(self, who="server", port=0):
        return {"ca_cert": self.path("ca.pem"), "cert": self.path(f"{who}.pem"),
                "key": self.path(f"{who}.key"), "port": port}

    def client(self, who="client"):
        return {"ca_cert": self.path("ca.pem"),
                "creds": [self.path(f"{who}.pem"), self.path(f"{who}.key")]}

    def context(self, version):
        """For a client that speaks this version of TLS only."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(self.path("ca.pem"))
        context.load_cert_chain(self.path("client.pem"), self.path("client.key"))
        context.minimum_version = context.maximum_version = version
        return context

    def flag(self, who="client", ca="ca.pem"):
        return "--tls=" + ",".join(map(self.path, (ca, f"{who}.pem", f"{who}.key")))
