/* `torn/`: what a start whose log ended in a torn record would otherwise destroy.
 *
 * A record that power loss tore was never acknowledged, but rot in the last commits looks the
 * same (FORMAT.md, "RocksDB's log"). So the logs are kept, the slabs that no record names, and the
 * bytes behind the tail of the open slab: until the next start with a whole log, or the next torn
 * one. Start-up only; blocks. */
#ifndef ASD_TORN_H
#define ASD_TORN_H

#include "asd/space.h"
#include "base/err.h"

enum { ASD_TORN_SLABS_MAX = 8 };

/* <home>/torn; free() it. */
char *asd_torn_path(const struct asd_home *home);
/* Hard links to all logs in `db_path`, in place of those that `torn_path` has. */
int asd_torn_keep_logs(const char *db_path, const char *torn_path, struct err *e);

/* These after the records of slabs were loaded. The end of what is kept, the logs excepted if
 * `keep_logs`: tails are punched, slabs unlinked. */
int asd_torn_clear(struct asd_space *s, bool keep_logs, struct err *e);
/* Move the file of a slab that no record names. */
int asd_torn_keep_slab(struct asd_space *s, uint64_t number, struct err *e);
/* Have the bytes behind the tail of a slab punched at the end, not now. The caller seals it. */
int asd_torn_keep_tail(struct asd_space *s, const struct asd_slab *slab, struct err *e);

#endif
