/* What an ASD counts: asked, as JSON, and for people. One thread; calls block. */
#ifndef ALBA_ASD_FIGURES_H
#define ALBA_ASD_FIGURES_H

#include <stdbool.h>
#include <stddef.h>

#include <jansson.h>
#include <uv.h>

#include "base/err.h"
#include "net/asd_client.h"
#include "wire/asd_stats.h"

/* {"n", "avg", "exp_avg", "m2", "var", "min", "max", "alpha"}. */
json_t *stat_json(const struct stat_sum *s);
/* Seconds as people read them: "3.20 ms". */
json_t *stat_seconds(const json_t *seconds);
/* A moment in Unix time. */
void stat_time_text(double seconds, char *ret_text, size_t bytes);

/* Over a client of its own; new reference, or NULL with *e set. `clear`: to count anew. */
json_t *asd_figures_ask(uv_loop_t *loop, struct asd_client *client, bool clear, unsigned timeout_ms,
                        struct err *e);
void asd_figures_show(const json_t *figures);

#endif
