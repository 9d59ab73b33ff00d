// SPDX-License-Identifier: Apache-2.0

// Kubelet-devices is what device plugins see of a kubelet, and nothing else of one: it serves the Registration service on
// the kubelet's socket, connects to each plugin that registers, watches its list of devices, and allocates what it is
// told to. It speaks JSON, one object a line. On standard input:
//
//	{"resource": "example.org/vf", "allocate": ["0000:01:00.1"]}
//
// and on standard output:
//
//	{"event": "serving"}                                   plugins can register
//	{"event": "registered", "resource": …, "version": …}   one did
//	{"event": "devices", "resource": …, "devices": {…}}    its list came, or came anew: health by device
//	{"event": "allocated", "resource": …, "envs": {…}, …}  what a container would get
//	{"event": "gone", "resource": …, "error": …}           the plugin ended
//	{"event": "error", "error": …}                         a line of input that could not be done
//
// It ends when its input does.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	api "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
)

const callTimeout = 30 * time.Second

// A kubelet waits no longer than this for a plugin that has registered to serve.
const dialTimeout = 10 * time.Second

type event struct {
	Event    string            `json:"event"`
	Resource string            `json:"resource,omitempty"`
	Version  string            `json:"version,omitempty"`
	Endpoint string            `json:"endpoint,omitempty"`
	Options  *options          `json:"options,omitempty"`
	Devices  map[string]string `json:"devices,omitempty"`
	Envs     map[string]string `json:"envs,omitempty"`
	Nodes    []string          `json:"nodes,omitempty"`
	Mounts   []string          `json:"mounts,omitempty"`
	Error    string            `json:"error,omitempty"`
}

type options struct {
	PreStartRequired    bool `json:"pre_start_required"`
	PreferredAllocation bool `json:"preferred_allocation"`
}

type request struct {
	Resource string   `json:"resource"`
	Allocate []string `json:"allocate"`
}

type plugin struct {
	client  api.DevicePluginClient
	options *api.DevicePluginOptions
}

type kubelet struct {
	api.UnimplementedRegistrationServer
	mutex   sync.Mutex
	plugins map[string]*plugin // by resource
	output  *json.Encoder
}

func (k *kubelet) say(e event) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if err := k.output.Encode(e); err != nil {
		log.Fatal(err)
	}
}

func (k *kubelet) Register(_ context.Context, r *api.RegisterRequest) (*api.Empty, error) {
	if r.Version != api.Version {
		return nil, fmt.Errorf("version %q is not %q", r.Version, api.Version)
	}
	if filepath.Base(r.Endpoint) != r.Endpoint {
		return nil, fmt.Errorf("endpoint %q is not the name of a socket", r.Endpoint)
	}
	// As the kubelet does: the answer does not wait for the plugin to serve.
	go k.use(r)
	return &api.Empty{}, nil
}

// use is a plugin's life after its registration.
func (k *kubelet) use(r *api.RegisterRequest) {
	err := k.watch(r)
	k.mutex.Lock()
	delete(k.plugins, r.ResourceName)
	k.mutex.Unlock()
	k.say(event{Event: "gone", Resource: r.ResourceName, Error: err.Error()})
}

func (k *kubelet) watch(r *api.RegisterRequest) error {
	connection, err := grpc.NewClient("unix://"+filepath.Join(api.DevicePluginPath, r.Endpoint),
		grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		return err
	}
	defer connection.Close()
	client := api.NewDevicePluginClient(connection)
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	got, err := client.GetDevicePluginOptions(ctx, &api.Empty{}, grpc.WaitForReady(true))
	if err != nil {
		return err
	}
	stream, err := client.ListAndWatch(context.Background(), &api.Empty{})
	if err != nil {
		return err
	}
	k.mutex.Lock()
	k.plugins[r.ResourceName] = &plugin{client, got}
	k.mutex.Unlock()
	k.say(event{
		Event: "registered", Resource: r.ResourceName, Version: r.Version, Endpoint: r.Endpoint,
		Options: &options{got.PreStartRequired, got.GetPreferredAllocationAvailable},
	})
	for {
		update, err := stream.Recv()
		if err != nil {
			return err
		}
		devices := map[string]string{}
		for _, device := range update.Devices {
			devices[device.ID] = device.Health
		}
		k.say(event{Event: "devices", Resource: r.ResourceName, Devices: devices})
	}
}

func (k *kubelet) allocate(r request) (*event, error) {
	k.mutex.Lock()
	p := k.plugins[r.Resource]
	k.mutex.Unlock()
	if p == nil {
		return nil, fmt.Errorf("nobody serves %q", r.Resource)
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	answer, err := p.client.Allocate(ctx, &api.AllocateRequest{
		ContainerRequests: []*api.ContainerAllocateRequest{{DevicesIds: r.Allocate}},
	})
	if err != nil {
		return nil, err
	}
	if len(answer.ContainerResponses) != 1 {
		return nil, fmt.Errorf("%d answers for one container", len(answer.ContainerResponses))
	}
	if p.options.PreStartRequired {
		if _, err := p.client.PreStartContainer(ctx, &api.PreStartContainerRequest{DevicesIds: r.Allocate}); err != nil {
			return nil, err
		}
	}
	container := answer.ContainerResponses[0]
	e := &event{Event: "allocated", Resource: r.Resource, Envs: container.Envs}
	for _, device := range container.Devices {
		e.Nodes = append(e.Nodes, device.HostPath)
	}
	for _, mount := range container.Mounts {
		e.Mounts = append(e.Mounts, mount.HostPath)
	}
	return e, nil
}

func run() error {
	if err := os.MkdirAll(api.DevicePluginPath, 0o750); err != nil {
		return err
	}
	if err := os.Remove(api.KubeletSocket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	listener, err := net.Listen("unix", api.KubeletSocket)
	if err != nil {
		return err
	}
	k := &kubelet{plugins: map[string]*plugin{}, output: json.NewEncoder(os.Stdout)}
	server := grpc.NewServer()
	api.RegisterRegistrationServer(server, k)
	go func() { log.Fatal(server.Serve(listener)) }()
	k.say(event{Event: "serving"})
	for input := bufio.NewScanner(os.Stdin); input.Scan(); {
		var r request
		if err := json.Unmarshal(input.Bytes(), &r); err != nil {
			k.say(event{Event: "error", Error: err.Error()})
			continue
		}
		if answer, err := k.allocate(r); err != nil {
			k.say(event{Event: "error", Resource: r.Resource, Error: err.Error()})
		} else {
			k.say(*answer)
		}
	}
	return os.Remove(api.KubeletSocket)
}

func main() {
	if err := run(); err != nil {
		log.Fatal(err)
	}
}
