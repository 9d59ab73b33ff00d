/* SPDX-License-Identifier: Apache-2.0 */

#include "api/server.h"

#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-event.h>

#include "settings/json_build.h"
#include "util/buffer.h"
#include "util/log.h"

#define LINES_PER_TURN 8
#define READ_SIZE      65536

/* A client is freed only in its own callbacks: any other code that must drop it dooms it, and its `turn`
 * frees it. */
struct client {
	struct rpc_peer peer;
	struct api_server *server;
	struct client *next;
	int fd;
	sd_event_source *io;
	sd_event_source *turn; /* on: lines wait, or the client is doomed */
	struct buffer in;
	size_t scanned; /* bytes at the start of `in` known to hold no newline */
	struct buffer out;
	bool eof;
	bool paused; /* lines wait until it has read replies */
	bool last;   /* close once `out` is empty */
	bool doomed;
};

struct api_server {
	sd_event *event;
	struct rpc *rpc;
	struct client *clients;
	unsigned int clients_n;
	int fd;
	sd_event_source *io;
	char *path;
	bool bound;
};

static void client_free(struct client *c)
{
	struct api_server *server = c->server;

	for (struct client **p = &server->clients; *p; p = &(*p)->next)
		if (*p == c) {
			*p = c->next;
			server->clients_n--;
			break;
		}
	rpc_peer_gone(server->rpc, &c->peer);
	sd_event_source_disable_unref(c->io);
	sd_event_source_disable_unref(c->turn);
	buffer_free(&c->in);
	buffer_free(&c->out);
	close_fd(&c->fd);
	log_debug("API client pid %d disconnected", (int)c->peer.pid);
	free(c);
}

static void client_doom(struct client *c, const char *why)
{
	if (c->doomed)
		return;
	c->doomed = true;
	if (why)
		log_warning("API client pid %d, uid %u disconnected: %s", (int)c->peer.pid,
			    (unsigned int)c->peer.uid, why);
	sd_event_source_set_enabled(c->turn, SD_EVENT_ON);
}

/* Sends what the socket takes, and sets the events to wait for. */
static void client_update(struct client *c)
{
	uint32_t events = 0;

	while (!c->doomed && buffer_size(&c->out)) {
		ssize_t n =
			send(c->fd, buffer_data(&c->out), buffer_size(&c->out), MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			if (errno != EAGAIN)
				client_doom(c, NULL); /* it went away */
			break;
		}
		buffer_consume(&c->out, (size_t)n);
	}
	if (c->doomed)
		return;
	if (buffer_size(&c->out))
		events |= EPOLLOUT;
	if (!c->eof && !c->last && buffer_size(&c->out) <= API_OUTPUT_PAUSE &&
	    buffer_size(&c->in) <= API_LINE_MAX)
		events |= EPOLLIN;
	sd_event_source_set_io_events(c->io, events);
	/* It may just have read replies: nothing else would return to its waiting lines. */
	if (c->paused && buffer_size(&c->out) <= API_OUTPUT_PAUSE) {
		c->paused = false;
		sd_event_source_set_enabled(c->turn, SD_EVENT_ON);
	}
	if (!buffer_size(&c->out) && (c->last || (c->eof && !buffer_size(&c->in) && !c->peer.open)))
		client_doom(c, NULL);
}

static void client_send(struct rpc_peer *peer, const char *text, size_t size)
{
	struct client *c = container_of(peer, struct client, peer);

	if (c->doomed)
		return;
	if (buffer_size(&c->out) + size > API_REPLY_MAX) {
		client_doom(c, "it sends requests and does not read the replies");
		return;
	}
	if (buffer_append(&c->out, text, size) < 0 || buffer_append(&c->out, "\n", 1) < 0) {
		client_doom(c, "out of memory");
		return;
	}
	client_update(c);
}

/* Where the first line ends; false: its end is not yet in the buffer. */
static bool find_line(struct client *c, size_t *ret)
{
	const char *data = buffer_data(&c->in);
	size_t size = buffer_size(&c->in);
	const char *end = size > c->scanned ? memchr(data + c->scanned, '\n', size - c->scanned) : NULL;

	if (!end) {
		c->scanned = size;
		/* At the end of input, a last line without a newline counts. */
		*ret = size;
		return c->eof && size;
	}
	c->scanned = 0;
	*ret = (size_t)(end - data);
	return true;
}

static bool is_blank(const char *p, size_t n)
{
	while (n && (p[n - 1] == ' ' || p[n - 1] == '\r' || p[n - 1] == '\t'))
		n--;
	return !n;
}

static void refuse_long_line(struct client *c)
{
	struct err err;

	err_set(&err, EMSGSIZE, NULL, "a request or batch must be a line of at most %u bytes", API_LINE_MAX);
	rpc_refuse(&c->peer, RPC_INVALID_REQUEST, &err);
	log_warning("API client pid %d sent a line of more than %u bytes", (int)c->peer.pid, API_LINE_MAX);
	c->last = true;
}

/* Handles some of the lines that have arrived. */
static void client_lines(struct client *c)
{
	unsigned int lines = 0;
	size_t end;

	while (!c->doomed && !c->last && find_line(c, &end)) {
		c->paused = buffer_size(&c->out) > API_OUTPUT_PAUSE;
		if (c->paused)
			break;
		if (lines++ == LINES_PER_TURN) {
			sd_event_source_set_enabled(c->turn, SD_EVENT_ON);
			return;
		}
		if (end > API_LINE_MAX) {
			refuse_long_line(c);
			break;
		}
		if (!is_blank(buffer_data(&c->in), end))
			rpc_handle(c->server->rpc, &c->peer, buffer_data(&c->in), end);
		buffer_consume(&c->in, MIN(end + 1, buffer_size(&c->in)));
	}
	if (!c->last && !c->doomed && c->scanned > API_LINE_MAX)
		refuse_long_line(c);
	if (!c->doomed)
		sd_event_source_set_enabled(c->turn, SD_EVENT_OFF);
}

static int on_turn(sd_event_source *source, void *ctx)
{
	struct client *c = ctx;

	(void)source;
	if (!c->doomed) {
		client_lines(c);
		client_update(c);
	}
	if (c->doomed)
		client_free(c);
	return 0;
}

static void client_read(struct client *c)
{
	void *room = buffer_room(&c->in, READ_SIZE);
	ssize_t n;

	if (!room) {
		client_doom(c, "out of memory");
		return;
	}
	n = recv(c->fd, room, READ_SIZE, MSG_DONTWAIT);
	if (n > 0)
		buffer_added(&c->in, (size_t)n);
	else if (!n)
		c->eof = true;
	else if (errno != EAGAIN && errno != EINTR)
		client_doom(c, NULL);
}

static int on_client_io(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	struct client *c = ctx;

	(void)source;
	(void)fd;
	if (!c->doomed && revents & EPOLLIN)
		client_read(c);
	else if (!c->doomed && revents & (EPOLLHUP | EPOLLERR))
		client_doom(c, NULL); /* both halves are closed: no reply can reach it */
	if (!c->doomed && revents & EPOLLOUT)
		client_update(c);
	if (!c->doomed) {
		client_lines(c);
		client_update(c);
	}
	if (c->doomed)
		client_free(c);
	return 0;
}

static int client_new(struct api_server *server, int *fd)
{
	struct ucred who = {0};
	socklen_t size = sizeof(who);
	struct client *c;
	int r;

	if (getsockopt(*fd, SOL_SOCKET, SO_PEERCRED, &who, &size) < 0)
		return -errno;
	c = calloc(1, sizeof(*c));
	if (!c)
		return -ENOMEM;
	c->server = server;
	c->peer = (struct rpc_peer){.pid = who.pid, .uid = who.uid, .send = client_send};
	c->fd = steal_fd(fd);
	c->next = server->clients;
	server->clients = c;
	server->clients_n++;
	r = sd_event_add_io(server->event, &c->io, c->fd, EPOLLIN, on_client_io, c);
	if (r >= 0)
		r = sd_event_add_defer(server->event, &c->turn, on_turn, c);
	if (r >= 0)
		r = sd_event_source_set_enabled(c->turn, SD_EVENT_OFF);
	if (r < 0) {
		client_free(c);
		return r;
	}
	log_debug("API client pid %d, uid %u, gid %u", (int)who.pid, (unsigned int)who.uid,
		  (unsigned int)who.gid);
	return 0;
}

/* A peer that is only a socket, to be told why it gets no connection. */
struct refused {
	struct rpc_peer peer;
	int fd;
};

static void refused_send(struct rpc_peer *peer, const char *text, size_t size)
{
	struct refused *refused = container_of(peer, struct refused, peer);

	/* A message that does not fit the buffer of a new socket is not worth waiting for. */
	if (send(refused->fd, text, size, MSG_NOSIGNAL | MSG_DONTWAIT | MSG_MORE) == (ssize_t)size)
		(void)!send(refused->fd, "\n", 1, MSG_NOSIGNAL | MSG_DONTWAIT);
}

static int on_accept(sd_event_source *source, int fd, uint32_t revents, void *ctx)
{
	_cleanup_close_ int client = accept4(fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct api_server *server = ctx;
	int r;

	(void)source;
	(void)revents;
	if (client < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			log_error("cannot accept an API client: %s", strerror(errno));
		return 0;
	}
	if (server->clients_n >= API_CLIENTS_MAX) {
		struct refused refused = {.peer = {.send = refused_send}, .fd = client};
		struct err err;

		err_set(&err, EBUSY, NULL, "there are already %d API clients, the maximum", API_CLIENTS_MAX);
		log_warning("API client refused: %s", err.text);
		rpc_refuse(&refused.peer, RPC_ERRNO_BASE - EBUSY, &err);
		return 0;
	}
	r = client_new(server, &client);
	if (r < 0)
		log_error("cannot serve an API client: %s", strerror(-r));
	return 0;
}

unsigned int api_server_topics(const struct api_server *server)
{
	unsigned int topics = 0;

	for (const struct client *c = server->clients; c; c = c->next)
		if (!c->doomed)
			topics |= c->peer.topics;
	return topics;
}

void api_server_broadcast(struct api_server *server, unsigned int topics, const json_t *message)
{
	_cleanup_free_ char *text = json_text(message, JSON_COMPACT);
	size_t size = text ? strlen(text) : 0;

	if (!text) {
		log_error("out of memory for an event");
		return;
	}
	for (struct client *c = server->clients; c; c = c->next) {
		if (c->doomed || !(c->peer.topics & topics))
			continue;
		if (buffer_size(&c->out) + size > API_OUTPUT_MAX)
			client_doom(c, "it has subscribed to events and does not read them");
		else
			client_send(&c->peer, text, size);
	}
}

/* Whether a process listens at the socket's path. */
static bool is_live(const struct sockaddr_un *un)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	return fd >= 0 && (!connect(fd, (const struct sockaddr *)un, sizeof(*un)) || errno == EAGAIN);
}

static int server_listen(struct api_server *server, const struct api_server_config *config, struct err *err)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct stat st;

	if (strlen(config->path) >= sizeof(un.sun_path))
		return err_set(err, ENAMETOOLONG, NULL,
			       "the socket path %s is longer than %zu bytes: choose a shorter --run-dir",
			       config->path, sizeof(un.sun_path) - 1);
	memcpy(un.sun_path, config->path, strlen(config->path));
	if (is_live(&un))
		return err_set(err, EADDRINUSE, NULL,
			       "another vpfd serves %s: stop it, or give this one its own --run-dir",
			       config->path);
	if (!lstat(config->path, &st)) {
		if (!S_ISSOCK(st.st_mode))
			return err_set(err, EEXIST, NULL, "%s exists and is not a socket: remove it",
				       config->path);
		unlink(config->path);
	}
	server->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	/* Before the socket has a path, its mode limits the mode of the path: at no moment can every user
	 * connect. */
	if (server->fd < 0 || fchmod(server->fd, config->mode) < 0)
		return err_set(err, errno, NULL, "cannot create a socket: %s", strerror(errno));
	if (bind(server->fd, (const struct sockaddr *)&un, sizeof(un)) < 0)
		return err_set(err, errno, NULL, "cannot create the socket %s: %s", config->path,
			       strerror(errno));
	server->bound = true;
	if (config->group != (gid_t)-1 && chown(config->path, (uid_t)-1, config->group) < 0)
		return err_set(err, errno, NULL, "cannot give the socket %s to group %u: %s", config->path,
			       (unsigned int)config->group, strerror(errno));
	if (chmod(config->path, config->mode) < 0)
		return err_set(err, errno, NULL, "cannot set the mode of the socket %s: %s", config->path,
			       strerror(errno));
	if (listen(server->fd, SOMAXCONN) < 0)
		return err_set(err, errno, NULL, "cannot listen on %s: %s", config->path, strerror(errno));
	return 0;
}

int api_server_new(const struct api_server_config *config, struct api_server **ret, struct err *err)
{
	struct api_server *server = calloc(1, sizeof(*server));
	int r;

	if (!server)
		return err_set(err, ENOMEM, NULL, "out of memory");
	server->fd = -1;
	server->event = sd_event_ref(config->event);
	server->path = strdup(config->path);
	r = server->path ? 0 : -ENOMEM;
	if (!r)
		r = rpc_new(&(struct rpc_config){.event = config->event,
						 .methods = config->methods,
						 .env = config->env,
						 .deferred_us = config->deferred_us},
			    &server->rpc);
	if (r < 0) {
		err_set(err, -r, NULL, "out of memory");
		goto fail;
	}
	r = server_listen(server, config, err);
	if (r < 0)
		goto fail;
	r = sd_event_add_io(server->event, &server->io, server->fd, EPOLLIN, on_accept, server);
	if (r < 0) {
		err_set(err, -r, NULL, "cannot watch the API socket: %s", strerror(-r));
		goto fail;
	}
	*ret = server;
	return 0;
fail:
	api_server_free(server);
	return r;
}

void api_server_free(struct api_server *server)
{
	if (!server)
		return;
	for (struct client *c = server->clients, *next; c; c = next) {
		next = c->next;
		client_free(c);
	}
	rpc_free(server->rpc);
	sd_event_source_disable_unref(server->io);
	close_fd(&server->fd);
	if (server->bound)
		unlink(server->path);
	free(server->path);
	sd_event_unref(server->event);
	free(server);
}
