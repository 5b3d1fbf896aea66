/* A file to a running proxy, wherever it is, part by part as the proxy asks for it
 * (client/wire/PROTOCOL.md, "Streams"). One thread; blocks. */
#ifndef ALBA_UPLOAD_STREAM_H
#define ALBA_UPLOAD_STREAM_H

#include "alba/upload.h"

/* net/proxy_upload.h, with a line that says how far it is. cli->err; cli->exception_code is
 * PROXY_RC_UNKNOWN_OPERATION from a proxy that knows no streams. */
int upload_stream(struct target *t, struct cli *cli, const struct upload *upload);

#endif
