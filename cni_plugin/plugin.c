/* The CNI plugin for hosts without Python: what cni_plugin/plugin.py does, byte for byte, in a static program.
 *
 * It hands the runtime's request to felix and prints what felix answers; it holds no credentials and decides nothing.
 * plugin.py describes the bytes on the socket and is the reference: the same contract tests are run on both. Whoever
 * calls this as calico-ipam is told that felix gives out the addresses: it does so with the pod's interface, in one step.
 *
 * Built with: cc -static -Os -o calico plugin.c (-DVERSION='"v1"' for what -v prints)
 * Source: the CNI specification 1.1.0; felix/cni/frame.py is the other end.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define SOCKET "/var/run/calico/cni.sock"
#define SPOOL "/var/lib/calico/cni-deleted"
#define LONGEST_WAIT_S 90
#define RESTART_MS 3500 /* an ADD waits so long for a felix that is about to start */
#define LOOK_AGAIN_MS 50
#define LONGEST_KNOCK_S 4 /* to be let in and to hand over the request: one that runs takes it at once */
#define VERSIONS "\"0.1.0\",\"0.2.0\",\"0.3.0\",\"0.3.1\",\"0.4.0\",\"1.0.0\",\"1.1.0\""

#ifndef VERSION
#define VERSION "unknown"
#endif

enum { BAD_VARIABLES = 4, TRY_AGAIN_LATER = 11, NOT_AVAILABLE = 50 };

extern char **environ;

struct bytes {
    char *at;
    size_t size, room;
};

/* --- what is sent ------------------------------------------------------------------------------------------------ */

static char *more(struct bytes *into, size_t size) {
    if (into->size + size > into->room) {
        into->room = 2 * (into->size + size) + 4096;
        into->at = realloc(into->at, into->room);
        if (!into->at) abort();
    }
    return into->at + into->size;
}

static void add(struct bytes *into, const void *what, size_t size) {
    memcpy(more(into, size), what, size);
    into->size += size;
}

static void add_part(struct bytes *into, const struct bytes *part) {
    uint32_t length = htonl((uint32_t)part->size);
    add(into, &length, sizeof length);
    if (part->size) add(into, part->at, part->size);
}

/* Until the other side has said all. Whether that went well. */
static int read_all(int from, struct bytes *into) {
    for (;;) {
        ssize_t size = read(from, more(into, 4096), 4096);
        if (size < 0 && errno == EINTR) continue;
        if (size <= 0) return size == 0;
        into->size += (size_t)size;
    }
}

static struct bytes frame(const struct bytes *standard_input) {
    struct bytes variables = {0}, request = {0};
    for (char **each = environ; *each; each++)
        if (!strncmp(*each, "CNI_", 4)) add(&variables, *each, strlen(*each) + 1);
    add(&request, "TCN1", 4);
    add_part(&request, &variables);
    add_part(&request, standard_input);
    return request;
}

/* --- felix ------------------------------------------------------------------------------------------------------- */

static const char *of(const char *variable, const char *otherwise) {
    const char *value = getenv(variable);
    return value && *value ? value : otherwise;
}

static void wait_at_most(int connection, int option, time_t seconds) {
    struct timeval limit = {.tv_sec = seconds};
    setsockopt(connection, SOL_SOCKET, option, &limit, sizeof limit);
}

/* The connection, or -1 and errno. */
static int knock_once(void) {
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    const char *path = of("TORTIE_CNI_SOCKET", SOCKET);
    if (strlen(path) >= sizeof address.sun_path) return errno = ENAMETOOLONG, -1;
    strcpy(address.sun_path, path);
    int connection = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    wait_at_most(connection, SO_SNDTIMEO, LONGEST_KNOCK_S);
    wait_at_most(connection, SO_RCVTIMEO, LONGEST_WAIT_S);
    if (!connect(connection, (struct sockaddr *)&address, sizeof address)) return connection;
    int why = errno;
    close(connection);
    return errno = why, -1;
}

/* Nothing tells when felix is back, so it is tried again and again. */
static int knock(int patience_ms) {
    for (;; patience_ms -= LOOK_AGAIN_MS) {
        int connection = knock_once();
        if (connection >= 0 || (errno != ENOENT && errno != ECONNREFUSED) || patience_ms <= 0) return connection;
        usleep(LOOK_AGAIN_MS * 1000);
    }
}

/* The first bytes, and with them the pod's namespace where there is one. */
static ssize_t send_first(int connection, const struct bytes *request, int namespace) {
    union {
        char space[CMSG_SPACE(sizeof(int))];
        struct cmsghdr aligned;
    } rights = {0};
    struct iovec part = {request->at, request->size};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (namespace >= 0) {
        message.msg_control = rights.space;
        message.msg_controllen = sizeof rights.space;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(header), &namespace, sizeof(int));
    }
    return sendmsg(connection, &message, MSG_NOSIGNAL);
}

static int send_all(int connection, const struct bytes *request) {
    const char *path = of("CNI_NETNS", "");
    int namespace = *path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    for (size_t done = 0; done < request->size;) {
        ssize_t sent = done ? send(connection, request->at + done, request->size - done, MSG_NOSIGNAL)
                            : send_first(connection, request, namespace);
        if (sent < 0) return 0;
        done += (size_t)sent;
    }
    return 1;
}

/* Exit status and standard output in ``answer``, or no and errno. */
static int ask(const struct bytes *request, struct bytes *answer, int patience_ms) {
    int connection = knock(patience_ms);
    if (connection < 0 || !send_all(connection, request) || !read_all(connection, answer)) return 0;
    if (answer->size < 8) return errno = ECONNRESET, 0;
    uint32_t length;
    memcpy(&length, answer->at + 4, sizeof length);
    return answer->size - 8 == ntohl(length) ? 1 : (errno = ECONNRESET, 0);
}

/* --- without felix ----------------------------------------------------------------------------------------------- */

static int fail(int code, const char *message) {
    printf("{\n    \"code\": %d,\n    \"msg\": \"", code);
    for (; *message; message++) printf(strchr("\\\"", *message) ? "\\%c" : "%c", *message);
    printf("\"\n}");
    return 1;
}

static void make_folders(char *path) {
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        mkdir(path, 0777);
        *slash = '/';
    }
    mkdir(path, 0700);
}

static int write_whole(const char *path, const struct bytes *what) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
    if (file < 0) return 0;
    for (size_t done = 0; done < what->size;) {
        ssize_t size = write(file, what->at + done, what->size - done);
        if (size < 0) return 0;
        done += (size_t)size;
    }
    return fsync(file) == 0 && close(file) == 0;
}

/* One file a container and interface; a later DEL of the same replaces it. */
static int spool(const struct bytes *request) {
    char *folder = strdup(of("TORTIE_CNI_SPOOL", SPOOL)), *name, *partial, *path;
    if (asprintf(&name, "%s:%s", of("CNI_CONTAINERID", ""), of("CNI_IFNAME", "")) < 0) abort();
    for (char *each = name; *each; each++)
        if (*each == '/') *each = '_';
    if (asprintf(&partial, "%s/.%s.%d", folder, name, getpid()) < 0) abort();
    if (asprintf(&path, "%s/%s", folder, name) < 0) abort();
    make_folders(folder);
    return write_whole(partial, request) && rename(partial, path) == 0;
}

static int without_felix(const char *command, const struct bytes *request, int error) {
    char *why, lost[200] = "";
    if (!strcmp(command, "DEL")) {
        if (spool(request)) return 0;
        snprintf(lost, sizeof lost, "; and the deletion cannot be kept until it does: %s", strerror(errno));
    }
    if (asprintf(&why, "calico-node's felix does not answer at %s ([Errno %d] %s): check that it runs on this node%s",
                 SOCKET, error, strerror(error), lost) < 0) abort();
    return fail(strcmp(command, "STATUS") ? TRY_AGAIN_LATER : NOT_AVAILABLE, why);
}

/* --- the commands ------------------------------------------------------------------------------------------------ */

static int for_addresses_only(const char *command) {
    if (!strcmp(command, "DEL")) return 0; /* nothing was ever added */
    return fail(BAD_VARIABLES, "calico-ipam gives addresses to the plugin calico only; choose another ipam.type");
}

int main(int count, char **words) {
    struct bytes standard_input = {0}, answer = {0};
    const char *command = of("CNI_COMMAND", ""), *called = strrchr(words[0], '/');
    if (count > 1 && !strcmp(words[1], "-v")) return puts(VERSION) < 0;
    read_all(STDIN_FILENO, &standard_input);
    if (!strcmp(command, "VERSION"))
        return printf("{\"cniVersion\":\"1.1.0\",\"supportedVersions\":[%s]}", VERSIONS) < 0;
    if (!strcmp(called ? called + 1 : words[0], "calico-ipam")) return for_addresses_only(command);
    struct bytes request = frame(&standard_input);
    if (!ask(&request, &answer, strcmp(command, "ADD") ? 0 : RESTART_MS)) return without_felix(command, &request, errno);
    uint32_t status;
    memcpy(&status, answer.at, sizeof status);
    fwrite(answer.at + 8, 1, answer.size - 8, stdout);
    return (int)ntohl(status);
}
