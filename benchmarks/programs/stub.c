/* A model server that answers at once, in the dialects of Ollama and OpenAI: `stub --port N`.
 *
 * A call is answered as a stream of two chunks in one piece, or, if it asks for "stream":false in
 * Ollama's dialect, with one object. A prompt may contain
 *
 *   @t=NS@      when its task was submitted, in CLOCK_MONOTONIC, which all processes share
 *   @pace=R/N@  stream N chunks, R per second, each in one piece of its own, the first at once; as
 *               fast as they are taken if R is 0
 *
 * `GET /books` returns the number of calls, when the first and the last arrived, how long each took
 * from its `@t=` to arrival, the number of paced chunks sent, and of the paced streams that run;
 * `POST /reset` clears all but the last two.
 */

#define _GNU_SOURCE
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define MOST_CONNECTIONS 8192
#define LONGEST_REQUEST (1 << 20)
#define PATIENCE_MS 10000
#define FLAT_OUT 64
#define SECOND 1000000000

typedef struct {
    int fd; /* 0: free */
    char *held;
    size_t length, capacity;
    const struct Dialect *dialect;
    uint64_t next_ns, every_ns; /* of a paced stream; every_ns is 0 if it has no pace */
    long chunks_left;
    int has_head; /* whether the head has been sent: it comes with the first chunk */
} Connection;

static Connection connections[MOST_CONNECTIONS];
static int timer, highest; /* the highest descriptor of a connection */

static struct {
    uint64_t calls, first_ns, last_ns, *heard_after_ns, chunks, streams;
    size_t heard, capacity;
} books;

/* --- what it says ---------------------------------------------------------------------------- */

#define HEAD(type)                                                                                \
    "HTTP/1.1 200 OK\r\nContent-Type: " type "\r\nTransfer-Encoding: chunked\r\n\r\n"
#define OLLAMA(said) "{\"model\":\"stub\",\"created_at\":\"2026-01-01T00:00:00.123456789Z\"," said
#define CONTENT(text) "\"message\":{\"role\":\"assistant\",\"content\":\"" text "\"},"
#define RESPONSE(text) "\"response\":\"" text "\","
#define GOES_ON "\"done\":false}\n"
#define ENDS                                                                                      \
    "\"done\":true,\"done_reason\":\"stop\",\"total_duration\":1000,\"prompt_eval_count\":60,"      \
    "\"eval_count\":3,\"eval_duration\":400}\n"
#define OPENAI(text, reason)                                                                      \
    "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1767225600,"       \
    "\"model\":\"other\",\"system_fingerprint\":\"fp\",\"choices\":[{\"index\":0,\"delta\":"          \
    "{\"content\":\"" text "\"},\"finish_reason\":" reason "}]}\n\n"

/* The answers to the paths that begin with `path`; the first that fits is taken. */
static const struct Dialect {
    const char *path, *head, *chunk, *last, *whole;
} dialects[] = {
    {"/api/chat", HEAD("application/x-ndjson"), OLLAMA(CONTENT(" scattering") GOES_ON),
     OLLAMA(CONTENT("") ENDS), OLLAMA(CONTENT(" scattering") ENDS)},
    {"/api/", HEAD("application/x-ndjson"), OLLAMA(RESPONSE(" scattering") GOES_ON),
     OLLAMA(RESPONSE("") ENDS), OLLAMA(RESPONSE(" scattering") ENDS)},
    {"/v1/", HEAD("text/event-stream"), OPENAI(" scattering", "null"),
     OPENAI("", "\"stop\"") "data: [DONE]\n\n", NULL},
    {0},
};

static const struct Listing {
    const char *path, *body;
} listings[] = {
    {"/api/tags", "{\"models\":[{\"name\":\"stub\",\"digest\":\"1\"}]}"},
    {"/v1/models", "{\"data\":[{\"id\":\"other\"}]}"},
    {"/api/version", "{\"version\":\"0.0.0\"}"},
    {"", "{}"},
};

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * SECOND + (uint64_t)time.tv_nsec;
}

static void *grown(void *memory, size_t bytes) {
    memory = realloc(memory, bytes);
    if (!memory) fail("memory");
    return memory;
}

/* --- answers --------------------------------------------------------------------------------- */

static void drop(Connection *connection) {
    if (connection->chunks_left) books.streams--;
    close(connection->fd);
    free(connection->held);
    memset(connection, 0, sizeof *connection);
}

/* A reader that takes nothing for PATIENCE_MS is dropped. */
static void send_all(Connection *connection, const char *data, size_t length) {
    while (length) {
        ssize_t sent = send(connection->fd, data, length, MSG_NOSIGNAL);
        if (sent > 0) {
            data += sent;
            length -= (size_t)sent;
            continue;
        }
        struct pollfd writable = {.fd = connection->fd, .events = POLLOUT};
        if (errno != EAGAIN || poll(&writable, 1, PATIENCE_MS) <= 0) {
            drop(connection);
            return;
        }
    }
}

static void send_json(Connection *connection, const char *body) {
    char *answer = grown(NULL, strlen(body) + 256);
    int length = sprintf(answer,
                         "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                         "Content-Length: %zu\r\n\r\n%s",
                         strlen(body), body);
    send_all(connection, answer, (size_t)length);
    free(answer);
}

static void send_two_chunks(Connection *connection) {
    const struct Dialect *dialect = connection->dialect;
    char answer[2048];
    int length = sprintf(answer, "%s%zx\r\n%s%s\r\n0\r\n\r\n", dialect->head,
                         strlen(dialect->chunk) + strlen(dialect->last), dialect->chunk,
                         dialect->last);
    send_all(connection, answer, (size_t)length);
}

static void send_next_chunk(Connection *connection) {
    int is_last = connection->chunks_left == 1;
    const char *data = is_last ? connection->dialect->last : connection->dialect->chunk;
    const char *head = connection->has_head ? "" : connection->dialect->head;
    char chunk[1024];
    int length = sprintf(chunk, "%s%zx\r\n%s\r\n%s", head, strlen(data), data,
                         is_last ? "0\r\n\r\n" : "");
    connection->has_head = 1;
    books.chunks++;
    books.streams -= (uint64_t)is_last;
    connection->chunks_left--;
    connection->next_ns += connection->every_ns;
    send_all(connection, chunk, (size_t)length);
}

static void begin_stream(Connection *connection, const char *pace) {
    char *rest;
    long rate = strtol(pace, &rest, 10);
    connection->every_ns = rate ? (uint64_t)(SECOND / rate) : 0;
    connection->next_ns = now();
    connection->chunks_left = strtol(rest + 1, NULL, 10);
    connection->has_head = 0;
    books.streams++;
}

static void send_books(Connection *connection) {
    char *body = grown(NULL, books.heard * 21 + 512);
    int length = sprintf(body,
                         "{\"calls\":%" PRIu64 ",\"first_ns\":%" PRIu64 ",\"last_ns\":%" PRIu64
                         ",\"chunks\":%" PRIu64 ",\"streams\":%" PRIu64 ",\"heard_after_ns\":[",
                         books.calls, books.first_ns, books.last_ns, books.chunks, books.streams);
    for (size_t i = 0; i < books.heard; i++)
        length += sprintf(body + length, "%s%" PRIu64, i ? "," : "", books.heard_after_ns[i]);
    strcpy(body + length, "]}");
    send_json(connection, body);
    free(body);
}

/* --- requests -------------------------------------------------------------------------------- */

static const char *find(const char *data, size_t length, const char *what) {
    return memmem(data, length, what, strlen(what));
}

static void note_call(const char *body, size_t length) {
    uint64_t time = now();
    books.calls++;
    if (!books.first_ns) books.first_ns = time;
    books.last_ns = time;
    const char *stamp = find(body, length, "@t=");
    if (!stamp) return;
    if (books.heard == books.capacity) {
        books.capacity = books.capacity ? books.capacity * 2 : 1024;
        books.heard_after_ns = grown(books.heard_after_ns, books.capacity * sizeof(uint64_t));
    }
    books.heard_after_ns[books.heard++] = time - strtoull(stamp + 3, NULL, 10);
}

static void forget_calls(void) {
    books.calls = books.first_ns = books.last_ns = 0;
    books.heard = 0;
}

static int begins(const char *text, const char *with) {
    return !strncmp(text, with, strlen(with));
}

static void answer_call(Connection *connection, const char *path, const char *body, size_t length) {
    const struct Dialect *dialect = dialects;
    while (dialect->path && !begins(path, dialect->path)) dialect++;
    if (!dialect->path) {
        send_json(connection, "{}");
        return;
    }
    note_call(body, length);
    connection->dialect = dialect;
    const char *pace = find(body, length, "@pace=");
    if (pace)
        begin_stream(connection, pace + 6);
    else if (dialect->whole && find(body, length, "\"stream\":false"))
        send_json(connection, dialect->whole);
    else
        send_two_chunks(connection);
}

static void answer(Connection *connection, const char *request, const char *body, size_t length) {
    if (begins(request, "POST /reset")) {
        forget_calls();
        send_books(connection);
    } else if (begins(request, "POST ")) {
        answer_call(connection, request + 5, body, length);
    } else if (begins(request, "GET /books")) {
        send_books(connection);
    } else if (begins(request, "GET ")) {
        const struct Listing *listing = listings;
        while (!begins(request + 4, listing->path)) listing++;
        send_json(connection, listing->body);
    } else {
        drop(connection);
    }
}

/* Answers each complete request. A request has a Content-Length or no body. */
static void answer_requests(Connection *connection) {
    while (connection->fd && !connection->chunks_left) {
        char *data = connection->held;
        const char *end = find(data, connection->length, "\r\n\r\n");
        if (!end) return;
        size_t head = (size_t)(end - data) + 4, length = 0;
        data[head - 1] = 0; /* ends the head for strcasestr */
        const char *field = strcasestr(data, "\ncontent-length:");
        if (field) length = strtoul(field + 16, NULL, 10);
        data[head - 1] = '\n';
        if (connection->length < head + length) return;
        answer(connection, data, data + head, length);
        if (!connection->fd) return;
        connection->length -= head + length;
        memmove(data, data + head + length, connection->length);
    }
}

static void receive(Connection *connection) {
    if (connection->capacity - connection->length < 4096) {
        connection->capacity = connection->capacity ? connection->capacity * 2 : 8192;
        connection->held = grown(connection->held, connection->capacity);
    }
    ssize_t received = recv(connection->fd, connection->held + connection->length,
                            connection->capacity - connection->length - 1, 0);
    if (received < 0 && errno == EAGAIN) return;
    if (received <= 0 || connection->length > LONGEST_REQUEST) {
        drop(connection);
        return;
    }
    connection->length += (size_t)received;
    connection->held[connection->length] = 0;
    answer_requests(connection);
}

/* --- the loop -------------------------------------------------------------------------------- */

static void accept_all(int listener, int epoll) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        if (fd >= MOST_CONNECTIONS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        connections[fd] = (Connection){.fd = fd};
        if (fd > highest) highest = fd;
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
    }
}

/* Sends what is due of paced streams, and sets the timer for the next. */
static void send_due(void) {
    uint64_t next = 0, time = now();
    for (int fd = 0; fd <= highest; fd++) {
        Connection *connection = &connections[fd];
        int burst = connection->every_ns ? 1 : FLAT_OUT; /* before others get their turn */
        while (burst-- && connection->chunks_left && connection->next_ns <= time)
            send_next_chunk(connection);
        if (connection->chunks_left && (!next || connection->next_ns < next))
            next = connection->next_ns;
        if (connection->fd && !connection->chunks_left && connection->length)
            answer_requests(connection); /* those that came during a stream */
    }
    struct itimerspec when = {.it_value = {(time_t)(next / SECOND), (long)(next % SECOND)}};
    timerfd_settime(timer, TFD_TIMER_ABSTIME, &when, NULL);
}

static int listen_on(int port) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 1024)) fail("listen");
    return fd;
}

int main(int count, char **options) {
    if (count != 3 || strcmp(options[1], "--port")) {
        fprintf(stderr, "usage: stub --port N\n");
        return 2;
    }
    int listener = listen_on(atoi(options[2])), epoll = epoll_create1(0);
    timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK);
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[256];
    epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = timer;
    epoll_ctl(epoll, EPOLL_CTL_ADD, timer, &event);
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1), is_due = 0;
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                accept_all(listener, epoll);
            } else if (fd == timer) {
                uint64_t expirations;
                is_due |= read(timer, &expirations, sizeof expirations) > 0;
            } else if (connections[fd].fd) {
                receive(&connections[fd]);
                is_due |= connections[fd].chunks_left > 0;
            }
        }
        if (is_due) send_due();
    }
}
