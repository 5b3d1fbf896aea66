#include "proxy/ops.h"

#include <stddef.h>

op_start op_find(uint32_t code)
{
    switch (code) {
    case PROXY_LIST_NAMESPACES:
    case PROXY_LIST_NAMESPACES2:
        return op_list_namespaces;
    case PROXY_NAMESPACE_EXISTS:
        return op_namespace_exists;
    case PROXY_CREATE_NAMESPACE:
        return op_create_namespace;
    case PROXY_DELETE_NAMESPACE:
        return op_delete_namespace;
    case PROXY_INVALIDATE_CACHE:
    case PROXY_DROP_CACHE:
        return op_drop_cache;
    case PROXY_LIST_OBJECTS:
        return op_list_objects;
    case PROXY_MULTI_EXISTS:
        return op_multi_exists;
    case PROXY_GET_OBJECT_INFO:
        return op_get_object_info;
    case PROXY_DELETE_OBJECT:
        return op_delete_object;
    case PROXY_WRITE_OBJECT_FS:
    case PROXY_WRITE_OBJECT_FS2:
        return op_write_object_fs;
    case PROXY_APPLY_SEQUENCE:
    case PROXY_APPLY:
    case PROXY_APPLY_FDS:
        return op_apply;
    case PROXY_APPLY_STREAM:
        return op_apply_stream;
    case PROXY_STREAM_PART:
        return op_stream_part;
    case PROXY_READ_OBJECT_FS:
        return op_read_object_fs;
    case PROXY_READ_SLICES:
    case PROXY_READ_SLICES2:
        return op_read_slices;
    case PROXY_READ_OBJECTS:
        return op_read_objects;
    case PROXY_OSD_VIEW:
        return op_osd_view;
    case PROXY_OSD_INFO:
    case PROXY_OSD_INFO2:
        return op_osd_info;
    case PROXY_STATISTICS:
        return op_statistics;
    case PROXY_GET_VERSION:
        return op_version;
    case PROXY_PING:
        return op_ping;
    case PROXY_GET_ALBA_ID:
        return op_alba_id;
    case PROXY_HAS_LOCAL_FRAGMENT_CACHE:
        return op_has_local_fragment_cache;
    case PROXY_UPDATE_SESSION:
        return op_update_session;
    case PROXY_GET_FRAGMENT_KEY:
        return op_fragment_key;
    case PROXY_GET_CLIENT_CONFIG:
        return op_client_config;
    default:
        return NULL;
    }
}
