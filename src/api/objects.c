/* SPDX-License-Identifier: Apache-2.0 */

#include "api/objects.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "control/control.h"
#include "qemu/pf_qemu.h"
#include "settings/fabric_json.h"
#include "settings/function_fields.h"
#include "settings/json_build.h"
#include "settings/mac.h"
#include "settings/pf_fields.h"
#include "vhost/vhost_user.h"

json_t *object_vf(unsigned int fn)
{
	return fn == VPF_FUNCTION_PF ? json_null() : json_integer(fn - 1);
}

static json_t *mac_json(const uint8_t mac[6])
{
	char text[MAC_TEXT_MAX];

	return json_string(mac_format(mac, text));
}

static json_t *direction(uint64_t packets, uint64_t bytes, uint64_t broadcast, uint64_t multicast,
			 const uint64_t drop[DROP_REASONS])
{
	json_t *drops = json_object();
	uint64_t dropped = 0;

	for (int i = 0; i < DROP_REASONS; i++) {
		dropped += drop[i];
		if (drop[i])
			json_put(&drops, drop_reason_name(i), json_integer((json_int_t)drop[i]));
	}
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:o}", "packets", (json_int_t)packets, "bytes",
			 (json_int_t)bytes, "broadcast", (json_int_t)broadcast, "multicast",
			 (json_int_t)multicast, "dropped", (json_int_t)dropped, "drops", drops);
}

json_t *object_stats(const struct port_stats *s)
{
	return json_pack("{s:o, s:o, s:I, s:I, s:I}", "tx",
			 direction(s->tx_packets, s->tx_bytes, s->tx_broadcast, s->tx_multicast, s->tx_drop),
			 "rx",
			 direction(s->rx_packets, s->rx_bytes, s->rx_broadcast, s->rx_multicast, s->rx_drop),
			 "sw_checksum", (json_int_t)s->sw_checksum, "sw_segmented",
			 (json_int_t)s->sw_segmented, "ring_errors", (json_int_t)s->ring_errors);
}

json_t *object_fdb_row(const struct fdb_row *row)
{
	json_t *vlan = row->vlan < 0 ? json_string("any") : json_integer(row->vlan);
	json_t *age = row->kind == FDB_LEARNED ? json_integer(row->age) : json_null();

	return json_pack("{s:o, s:o, s:s, s:s?, s:o, s:o}", "mac", mac_json(row->mac), "vlan", vlan, "kind",
			 fdb_kind_name(row->kind), "pf", row->pf, "vf", object_vf(row->function), "age", age);
}

static json_t *fabric_pfs_json(const struct api_env *env, const struct model_fabric *f)
{
	json_t *pfs = json_array();

	for (unsigned int i = 0; model_pf_at(env->model, i); i++)
		if (model_pf_at(env->model, i)->fabric == f)
			json_add(&pfs, json_string(model_pf_at(env->model, i)->s.name));
	return pfs;
}

/* What is known of the uplink besides its settings. */
static json_t *uplink_json(json_t *settings, const struct model_fabric *f, const struct fabric_state *state)
{
	json_t *uplink = json_incref(json_object_get(settings, "uplink"));

	json_put(&uplink, "carrier", json_boolean(!f->uplink_absent && state->uplink_carrier));
	if (f->uplink_absent)
		json_put(&uplink, "absent", rpc_text(f->uplink_error));
	return uplink;
}

json_t *object_fabric(const struct api_env *env, const struct model_fabric *f)
{
	struct port_stats uplink_stats = {0};
	struct fabric_state state = {0};
	json_t *o = fabric_settings_json(&f->s);

	model_fabric_get(env->model, f->s.name, &state, &uplink_stats);
	json_put(&o, "uplink", uplink_json(o, f, &state));
	json_put(&o, "pfs", fabric_pfs_json(env, f));
	json_put(&o, "ports", json_integer(state.ports));
	json_put(&o, "fdb_entries", json_integer(state.fdb_entries));
	json_put(&o, "fdb_learned", json_integer(state.fdb_learned));
	if (f->s.uplink != UPLINK_NONE)
		json_put(&o, "uplink_stats", object_stats(&uplink_stats));
	return o;
}

static json_t *driver_json(const struct rx_filter *filter)
{
	json_t *unicast;

	if (!filter || !filter->known)
		return json_pack("{s:b}", "known", 0);
	unicast = json_array();
	for (unsigned int i = 0; i < filter->unicast_n; i++)
		json_add(&unicast, mac_json(filter->unicast[i]));
	return json_pack("{s:b, s:o, s:b, s:b, s:o, s:b}", "known", 1, "mac", mac_json(filter->main_mac),
			 "promiscuous", filter->promiscuous, "all_multicast", filter->all_multicast,
			 "unicast", unicast, "unicast_overflow", filter->unicast_overflow);
}

json_t *object_serving(const struct binding_info *info)
{
	char text[256];

	if (!info->pref.type)
		return json_null();
	return json_string(datapath_pref_text(&info->pref, text));
}

static json_t *binding_json(const struct api_env *env, const struct model_pf *pf, unsigned int fn)
{
	struct datapath_list list = model_function_list(pf, fn);
	struct binding_info info = {0};
	json_t *serving;

	if (model_function_binding(env->model, pf->s.name, fn, &info) < 0)
		return json_null();
	serving = object_serving(&info);
	return json_pack("{s:s, s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o}", "state",
			 binding_state_name(info.state), "list", datapath_list_to_json(&list), "position",
			 json_is_null(serving) ? json_null() : json_integer(info.position), "serving",
			 serving, "binds", (json_int_t)info.binds, "moves", (json_int_t)info.moves,
			 "failures", (json_int_t)info.failures, "last_gap_us", (json_int_t)info.last_gap_us,
			 "last_error", info.last_error[0] ? rpc_text(info.last_error) : json_null());
}

/* The state of a function, besides its settings. */
static json_t *function_state_json(const struct api_env *env, const struct model_pf *pf, unsigned int fn)
{
	struct function_state state = {.datapath = "none"};
	struct vhost_user_info vu = {0};
	char path[108], features[32];

	model_function_get(env->model, pf->s.name, fn, &state, &vu, NULL);
	snprintf(features, sizeof(features), "0x%" PRIx64, vu.features);
	return json_pack("{s:b, s:b, s:s, s:s, s:b, s:o, s:s, s:I, s:I, s:o, s:o}", "link_up", state.link_up,
			 "mac_conflict", state.mac_conflict, "datapath",
			 state.datapath ? state.datapath : "none", "socket",
			 model_function_path(env->model, pf->s.name, fn, path), "connected", vu.connected,
			 "peer_pid", vu.connected ? json_integer(vu.peer) : json_null(), "features", features,
			 "queues_started", (json_int_t)vu.queues_started, "queues_enabled",
			 (json_int_t)vu.queues_enabled, "driver", driver_json(state.filter), "binding",
			 binding_json(env, pf, fn));
}

json_t *object_function(const struct api_env *env, const struct model_pf *pf, unsigned int fn)
{
	const struct function_settings *s = &pf->fn[fn].s;
	json_t *o;

	o = json_pack("{s:s, s:o, s:o}", "pf", pf->s.name, "vf", object_vf(fn), "mac", mac_json(s->mac));
	fields_show(function_fields, s, &o);
	json_join(&o, function_state_json(env, pf, fn));
	return o;
}

static json_t *control_json(const struct control *control, const char *pf)
{
	struct control_info info = {0};
	const struct channel_counters *n;
	json_t *counters;

	if (control_get(control, pf, &info) < 0)
		return json_null(); /* there was no memory for it, which has been logged */
	n = info.counters;
	counters =
		json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
			  "frames", (json_int_t)n->frames, "hello", (json_int_t)n->hello, "requests",
			  (json_int_t)n->requests, "refused", (json_int_t)n->refused, "repeated",
			  (json_int_t)n->repeated, "replies", (json_int_t)n->replies, "events",
			  (json_int_t)n->events, "event_retries", (json_int_t)n->event_retries, "resets",
			  (json_int_t)n->resets, "unsent", (json_int_t)n->unsent, "malformed",
			  (json_int_t)n->malformed, "bad_version", (json_int_t)n->bad_version, "bad_tag",
			  (json_int_t)n->bad_tag, "unknown_session", (json_int_t)n->unknown_session,
			  "replayed", (json_int_t)n->replayed, "limited", (json_int_t)info.limited);
	return json_pack("{s:b, s:o, s:o, s:o}", "session", info.session->id != 0, "driver",
			 info.session->id ? json_string(info.session->driver) : json_null(), "kernel",
			 info.session->id ? json_string(info.session->kernel) : json_null(), "counters",
			 counters);
}

static json_t *qmp_json(const struct api_env *env, const struct model_pf *pf)
{
	bool connected = false, present = false;

	if (env->qemu)
		pf_qemu_state(env->qemu, pf->s.name, &connected, &present);
	return json_pack("{s:o, s:b, s:b}", "path", pf->s.qmp[0] ? json_string(pf->s.qmp) : json_null(),
			 "connected", connected, "present", present);
}

static json_t *functions_json(const struct api_env *env, const struct model_pf *pf)
{
	json_t *list = json_array();

	for (unsigned int fn = 0; fn <= pf->s.vfs; fn++)
		json_add(&list, object_function(env, pf, fn));
	return list;
}

json_t *object_pf(const struct api_env *env, const struct model_pf *pf, bool functions)
{
	char key_file[108];
	json_t *o;

	o = json_pack("{s:s, s:s, s:I, s:I, s:o}", "name", pf->s.name, "fabric", pf->s.fabric, "vfs",
		      (json_int_t)pf->s.vfs, "queue_pairs", (json_int_t)pf->s.queue_pairs, "mac",
		      mac_json(pf->mac));
	fields_show(pf_fields, &pf->s, &o);
	json_put(&o, "qmp", qmp_json(env, pf));
	json_put(&o, "key_file", json_string(model_key_path(env->model, pf->s.name, key_file)));
	json_put(&o, "guest_requests",
		 json_pack("{s:I, s:I}", "granted", (json_int_t)pf->granted, "refused",
			   (json_int_t)pf->refused));
	if (functions)
		json_put(&o, "functions", functions_json(env, pf));
	else
		json_put(&o, "connected", json_integer(model_pf_connected(env->model, pf)));
	if (functions && env->control)
		json_put(&o, "control", control_json(env->control, pf->s.name));
	return o;
}
