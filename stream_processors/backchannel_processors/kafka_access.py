"""How a worker proves to Kafka who it is: the settings of every client, in Faust's words too."""

import faust
from faust.types.auth import CredentialsT

from backchannel.security import KafkaSecurity

__all__ = ["faust_credentials"]


def faust_credentials(security: KafkaSecurity) -> CredentialsT | None:
    """Returns the credentials of a Faust app; ``None`` for an open connection."""
    options = security.aiokafka()
    context = options.get("ssl_context")
    if not security.security_protocol.startswith("SASL"):
        # Faust's own loading of certificates fails (cafile without purpose): a ready context.
        return faust.SSLCredentials(context) if context is not None else None
    match security.sasl_mechanism:
        case "GSSAPI":
            return faust.GSSAPICredentials(ssl_context=context, mechanism="GSSAPI")
        case "OAUTHBEARER":
            return faust.OAuthCredentials(
                oauth_cb=options["sasl_oauth_token_provider"], ssl_context=context
            )
        case mechanism:
            return faust.SASLCredentials(
                username=security.sasl_username,
                password=security.sasl_password,
                ssl_context=context,
                mechanism=mechanism,
            )
