# volumedriver_nbd: the NBD front end over volumedriver/volume.h, whose functions come from
# volumedriver_core, or from the double of the tests.
add_library(volumedriver_nbd STATIC
            nbd_command.c nbd_conn.c nbd_export.c nbd_handshake.c nbd_mail.c nbd_option.c
            nbd_pace.c nbd_pool.c nbd_proto.c nbd_reply.c nbd_req.c nbd_room.c nbd_server.c
            nbd_visitor.c nbd_worker.c)
target_include_directories(volumedriver_nbd PUBLIC ${PROJECT_SOURCE_DIR})
target_link_libraries(volumedriver_nbd PUBLIC base net)
