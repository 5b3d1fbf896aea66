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
/* The same on NSM hosts, but the registry's; doubts, when one does not answer. */
void recover_hosts(struct recover *r);
/* Of r->found, until the next call; NULL: the copy knows the id, or nobody gave it out. */
struct restore_namespace *recover_note(struct recover *r, uint64_t id, struct slice name);

#endif
