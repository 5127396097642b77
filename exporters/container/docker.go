package container

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// maxInspect bounds one answer of Docker, about a container or in a list of
// thousands.
const maxInspect = 8 << 20

// docker is the Identity of Docker, and of podman, which speaks the same on its
// socket. It asks about each container by its id, not for all there are.
type docker struct {
	path  string
	named bool     // the socket was named by the user, who wants it to be there
	env   []string // prefixes of the variables to keep
	http  *http.Client

	mu      sync.Mutex
	version string // of the API, that the daemon asked for; empty: not yet
}

// newDocker makes an Identity for a socket. Nothing is dialled yet.
func newDocker(path string, named bool, env []string) *docker {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "unix", path) // whatever the address says
	}
	return &docker{path: path, named: named, env: env, http: &http.Client{
		Transport:     &http.Transport{DialContext: dial, MaxConnsPerHost: maxAsked, IdleConnTimeout: time.Minute, DisableCompression: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// socketPath takes the path out of an endpoint.
func socketPath(flag, endpoint string) (string, error) {
	path, _ := strings.CutPrefix(endpoint, "unix://")
	if !strings.HasPrefix(path, "/") {
		return "", fmt.Errorf("%s %q: want unix:///PATH of a socket, or %s", flag, endpoint, NoEndpoint)
	}
	return path, nil
}

// Close implements Identity.
func (d *docker) Close() error {
	d.http.CloseIdleConnections()
	return nil
}

// Containers implements Identity.
func (d *docker) Containers(ctx context.Context, known map[string]*Container) ([]*Container, error) {
	all := make([]*Container, 0, len(known))
	var ask []string
	for id, c := range known {
		if c != nil {
			all = append(all, c)
		} else {
			ask = append(ask, id)
		}
	}
	if _, err := os.Stat(d.path); err != nil && !d.named && len(all) == 0 && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
		return nil, fmt.Errorf("%w at %s: %w", ErrNoRuntime, d.path, err)
	}
	var mu sync.Mutex
	var group errgroup.Group // each container by itself: the others count all the same
	group.SetLimit(maxAsked)
	for _, id := range ask {
		group.Go(func() error {
			one, err := d.inspect(ctx, id)
			if errors.Is(err, errForgotten) {
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			all = append(all, one.container(d.env))
			return nil
		})
	}
	err := group.Wait()
	if errors.Is(err, fs.ErrPermission) && !d.named && len(all) == 0 {
		return nil, fmt.Errorf("%w that may be asked: %w; run as root", ErrNoRuntime, err)
	}
	return all, err
}

// ExitCode implements exiter.
func (d *docker) ExitCode(ctx context.Context, id string) (code int, ended bool, err error) {
	one, err := d.inspect(ctx, id)
	if err != nil {
		return 0, false, err
	}
	return one.State.ExitCode, one.State.Status == "exited" || one.State.Status == "dead", nil
}

// inspect asks about one container.
func (d *docker) inspect(ctx context.Context, id string) (*inspected, error) {
	version, err := d.negotiate(ctx)
	if err != nil {
		return nil, err
	}
	body, _, err := d.get(ctx, version+"/containers/"+id+"/json")
	if err != nil {
		return nil, err
	}
	one := &inspected{}
	if err := json.Unmarshal(body, one); err != nil {
		return nil, fmt.Errorf("container runtime at %s: what it says of container %s: %w", d.path, id, err)
	}
	if one.ID != id {
		return nil, fmt.Errorf("container runtime at %s: asked about container %s, it tells of %.80q", d.path, id, one.ID)
	}
	return one, nil
}

// negotiate gives the part of the path that names the version of the API. The
// daemon's own is taken: a daemon refuses what is too old for it, and what is
// read here has been the same in all of them.
func (d *docker) negotiate(ctx context.Context) (string, error) {
	d.mu.Lock()
	version := d.version
	d.mu.Unlock()
	if version != "" {
		return version, nil
	}
	_, header, err := d.get(ctx, "/_ping")
	if err != nil {
		return "", err
	}
	told := header.Get("Api-Version")
	if n, err := strconv.ParseFloat(told, 64); err != nil || n < 1 || n > 1000 || len(told) > 8 {
		return "", fmt.Errorf("container runtime at %s: it does not tell the version of its API, but %.80q", d.path, told)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.version = "/v" + told
	return d.version, nil
}

func (d *docker) get(ctx context.Context, path string) (body []byte, header http.Header, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://runtime"+path, http.NoBody)
	if err != nil {
		return nil, nil, fmt.Errorf("container runtime at %s: %w", d.path, err)
	}
	response, err := d.http.Do(request)
	if err != nil {
		return nil, nil, fmt.Errorf("container runtime at %s: %w", d.path, err)
	}
	defer func() { _ = response.Body.Close() }() // read-only
	body, err = io.ReadAll(io.LimitReader(response.Body, maxInspect+1))
	switch {
	case err != nil:
		return nil, nil, fmt.Errorf("container runtime at %s: reading %s: %w", d.path, path, err)
	case response.StatusCode == http.StatusNotFound:
		return nil, nil, errForgotten
	case response.StatusCode != http.StatusOK:
		d.mu.Lock()
		d.version = "" // another daemon may have taken its place
		d.mu.Unlock()
		return nil, nil, fmt.Errorf("container runtime at %s: %s: %s: %.200q", d.path, path, response.Status, body)
	case len(body) > maxInspect:
		return nil, nil, fmt.Errorf("container runtime at %s: %s: more than %d bytes", d.path, path, maxInspect)
	}
	return body, response.Header, nil
}

// inspected is what is used of Docker's answer about a container.
type inspected struct {
	ID           string `json:"Id"`
	Name         string
	Created      string
	RestartCount int
	State        struct {
		Status   string
		Pid      int
		ExitCode int
	}
	Config struct {
		Image  string
		Labels map[string]string
		Env    []string
	}
	HostConfig struct{ NetworkMode string }
}

// container makes of it what cAdvisor shows.
func (i *inspected) container(env []string) *Container {
	c := &Container{ID: i.ID, Name: strings.TrimPrefix(i.Name, "/"), Image: i.Config.Image, Labels: i.Config.Labels, PID: max(i.State.Pid, 0),
		Network: !strings.HasPrefix(i.HostConfig.NetworkMode, "container:")}
	c.Created, _ = time.Parse(time.RFC3339Nano, i.Created) // without it, that of its cgroup counts
	if i.RestartCount > 0 {
		c.Labels = with(c.Labels, "restartcount", strconv.Itoa(i.RestartCount))
	}
	for _, one := range i.Config.Env {
		name, value, ok := strings.Cut(one, "=")
		for _, prefix := range env {
			if ok && strings.HasPrefix(name, prefix) {
				c.Env = with(c.Env, strings.ToLower(name), value)
			}
		}
	}
	return c
}
