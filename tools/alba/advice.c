#include "alba/advice.h"

#include <string.h>

#include <uv.h>

#include "alba/session.h"
#include "alba/verb.h"
#include "wire/proxy_msg.h"

static const char *of_registry(int code)
{
    switch (code) {
    case MGR_NAMESPACE_NOT_FOUND:
        return "see alba list-namespaces";
    case MGR_PRESET_NOT_FOUND:
        return "see alba list-presets";
    case MGR_PRESET_EXISTS:
        return "alba update-preset changes it";
    case MGR_OSD_UNKNOWN:
        return "(see alba list-all-osds)"; /* programs cut the id out: a blank ends it */
    default:
        return NULL;
    }
}

static const char *of_proxy(int code)
{
    switch (code) {
    case PROXY_RC_NAMESPACE_NOT_FOUND:
        return "see alba list-namespaces";
    case PROXY_RC_PRESET_NOT_FOUND:
        return "see alba list-presets";
    case PROXY_RC_NO_POLICY:
        return "see alba preset-explain";
    default:
        return NULL;
    }
}

/* Of a peer that was not reached; the messages begin with what it is. */
static const char *of_peer(const struct cli *cli)
{
    bool is_proxy = strstr(cli->err.msg, "proxy tcp://") != NULL ||
                    strstr(cli->err.msg, "proxy tls://") != NULL ||
                    strstr(cli->err.msg, "proxy unix://") != NULL;
    bool is_asd =
        strstr(cli->err.msg, "asd tcp://") != NULL || strstr(cli->err.msg, "asd tls://") != NULL;

    if (strstr(cli->err.msg, "metadata asd") != NULL && strstr(cli->err.msg, "does not answer")) {
        return "is it running (alba up)?"; /* a daemon says so, whatever the code */
    }
    switch (cli->err.code) {
    case UV_ECONNREFUSED:
    case UV_ENOENT:
        return is_proxy ? "no proxy listens there; start it, or give the address of one that runs"
               : is_asd ? "nothing listens there; is the address right?"
                        : NULL;
    case UV_EOF:
    case UV_ECONNRESET:
    case ERR_PROTOCOL:
        return is_asd ? "is it an ASD that listens there?" : NULL;
    case ERR_CONFIG:
        return is_proxy || is_asd ? "--tls or ALBA_CLI_TLS names them" : NULL;
    default:
        return NULL;
    }
}

void advice_add(struct cli *cli)
{
    const char *type = cli->exception_type != NULL ? cli->exception_type : "";
    const char *advice = NULL;
    struct err why;

    if (strcmp(type, "albamgr_exn") == 0) {
        advice = of_registry(cli->exception_code);
    } else if (strcmp(type, "proxy_exn") == 0) {
        advice = of_proxy(cli->exception_code);
    }
    if (advice == NULL) {
        advice = of_peer(cli);
    }
    if (advice == NULL || strstr(cli->err.msg, "; ") != NULL || strchr(cli->err.msg, '?') != NULL) {
        return; /* it says more than the cause */
    }
    err_copy(&why, &cli->err);
    err_say(&cli->err, why.code, "%s%s%s", why.msg, advice[0] == '(' ? " " : "; ", advice);
}
