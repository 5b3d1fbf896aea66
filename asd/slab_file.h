/* What tells a slab file: its name and its header. Layout: FORMAT.md, "Slab file". Blocks; any
 * thread. */
#ifndef ASD_SLAB_FILE_H
#define ASD_SLAB_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include "asd/home.h"
#include "base/err.h"

char *asd_slab_path(const struct asd_home *home, uint64_t number); /* free() it */
/* False: it is not the name of a slab file. */
bool asd_slab_name_parse(const char *name, uint64_t *ret_number);
/* Is `fd` this slab of this home, of that size? 0, ERR_CORRUPT, ERR_VERSION, or what reading its
 * header gave. */
int asd_slab_header_check(const struct asd_home *home, int fd, uint64_t number, uint64_t size_bytes,
                          struct err *e);
/* Is the file as long? */
int asd_slab_size_check(const struct asd_home *home, int fd, uint64_t size_bytes, struct err *e);

#endif
