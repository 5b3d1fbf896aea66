/* encode.h for fragment format 0: whole fragments, not slices. For encode.c only. */
#ifndef PROXY_ENCODE0_H
#define PROXY_ENCODE0_H

#include "proxy/encode.h"

size_t encode0_memory_bytes(uint32_t k, uint32_t m, uint32_t fragment_bytes,
                            enum compress_codec codec, enum cipher cipher);
void encode0_run(struct encode *x);

#endif
