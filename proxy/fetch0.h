/* fetch.h for fragments of format 0: whatever is wanted of one, all of it is read, checked against
 * the manifest's checksum and unpacked. For fetch.c only. */
#ifndef PROXY_FETCH0_H
#define PROXY_FETCH0_H

#include "proxy/fetch.h"

static inline bool readable_is_format0(const struct readable *readable)
{
    return readable->object->manifest.scheme.fragment_format == 0;
}

/* Before it is asked for: does the manifest make sense? */
int fetch0_check(struct fetch *f);
/* Any thread: uses *fetch, and the answer and the manifest, which are constant. */
int fetch0_unpack(struct fetch *f);
/* Loop thread. Is somebody unpacking these bytes in the pool just now, to whom `f` was added? */
bool fetch0_join(struct fetch *f);
/* Loop thread: `f` has unpacked them, with this outcome, and *ret_others (empty) gets those that
 * were added, for whom it is the same; when it is 0 they have their bytes, too. */
void fetch0_give(struct fetch *f, int rc, struct list *ret_others);
/* Loop thread, after fetch0_unpack() gave 0: who reads slices may want the rest soon. */
void fetch0_keep(struct fetch *f);

#endif
