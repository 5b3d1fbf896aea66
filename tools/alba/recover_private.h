/* What the steps of a recovery share. */
#ifndef ALBA_RECOVER_PRIVATE_H
#define ALBA_RECOVER_PRIVATE_H

#include "alba/recover.h"
#include "net/asd_client.h"

enum { RECOVER_TIMEOUT_MS = 10000 };

void recover_doubt(struct recover *r, char *take_text);
/* The caller closes it. */
struct asd_client *recover_connect(struct recover *r, const struct recover_source *source);
/* What is found goes to r->found, r->namespace_id_seen. */
void recover_scan(struct recover *r);

#endif
