/* What the proxy does for each command: one function starts it (session.h says how it
 * ends). Loop thread only. */
#ifndef PROXY_OPS_H
#define PROXY_OPS_H

#include "proxy/session.h"

struct sequence;

typedef void (*op_start)(struct session *session);

/* NULL for a command that this proxy does not know. */
op_start op_find(uint32_t code);

/* ops_namespace.c */
void op_list_namespaces(struct session *session); /* 1, 30 */
void op_namespace_exists(struct session *session);
void op_create_namespace(struct session *session);
void op_delete_namespace(struct session *session);
void op_drop_cache(struct session *session); /* 14, 16 */

/* ops_object.c */
void op_list_objects(struct session *session);
void op_multi_exists(struct session *session);
void op_get_object_info(struct session *session);

/* ops_write.c */
void op_delete_object(struct session *session);
void op_write_object_fs(struct session *session); /* 11, 21 */
void op_apply(struct session *session);           /* 24, 64, 65 */
/* The usual reply to a transaction: manifests of its uploads. */
void op_reply_manifests(struct session *session, struct sequence *sequence);

/* ops_stream.c */
void op_apply_stream(struct session *session);
void op_stream_part(struct session *session);
/* Now and then: one whose client is too slow while others wait is canceled. */
void op_stream_check(struct session *session, uint64_t now_ms);
/* A put between two requests goes on with `to`; one whose own request runs stays. */
void op_stream_move(struct session *from, struct session *to);
void op_stream_leave(struct session *session); /* the session ends */

/* ops_read.c */
void op_read_object_fs(struct session *session);
void op_read_slices(struct session *session); /* 13, 23 */
void op_read_objects(struct session *session);

/* ops_osd.c */
void op_osd_view(struct session *session);
void op_osd_info(struct session *session); /* 22, 28 */

/* ops_misc.c */
void op_statistics(struct session *session);
void op_version(struct session *session);
void op_ping(struct session *session);
void op_alba_id(struct session *session);
void op_client_config(struct session *session);
void op_has_local_fragment_cache(struct session *session);
void op_update_session(struct session *session);
void op_fragment_key(struct session *session);

#endif
