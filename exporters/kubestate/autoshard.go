package kubestate

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// autoShard finds the shard of the pod that the exporter runs in: its number
// in a StatefulSet, of as many as that wants. A change of the number begins
// new lists; until those are complete, what was known is served on.
type autoShard struct {
	pod, namespace string
	exporter       *Exporter
	set            *source // follows the StatefulSet, once its name is known
	ordinal        int32
}

// groupsOfAutoShard are what the client must reach for it.
func groupsOfAutoShard() []apiGroup {
	return []apiGroup{
		{corev1.SchemeGroupVersion, corev1.AddToScheme},
		{appsv1.SchemeGroupVersion, appsv1.AddToScheme},
	}
}

// run follows the StatefulSet until the context ends.
func (a *autoShard) run(ctx context.Context) {
	const most = 30 * time.Second
	var told string
	for pause := a.exporter.retry; ; pause = min(2*pause, most) {
		err := a.find(ctx)
		if ctx.Err() != nil {
			return
		}
		a.exporter.health.shardUnknown(err)
		if err == nil {
			break
		}
		if told != err.Error() {
			told = err.Error()
			a.exporter.logger.Error("cannot find the shard of this pod, and follow nothing until then; trying on", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
	a.set.run(ctx, a.exporter.retry)
}

// find gets the name of the StatefulSet.
func (a *autoShard) find(ctx context.Context) error {
	var pod corev1.Pod
	group := a.exporter.client.groups[corev1.SchemeGroupVersion]
	err := group.Get().MaxRetries(0).Namespace(a.namespace).Resource("pods").Name(a.pod).Do(ctx).Into(&pod)
	if err != nil {
		return fmt.Errorf("pod %s/%s of --pod-namespace and --pod: %w", a.namespace, a.pod, err)
	}
	for _, owner := range pod.OwnerReferences {
		if owner.Kind == "StatefulSet" && owner.APIVersion == appsv1.SchemeGroupVersion.String() && isController(owner) {
			return a.member(owner.Name)
		}
	}
	return fmt.Errorf("pod %s/%s is of no StatefulSet: run this in one, or give --shard and --total-shards", a.namespace, a.pod)
}

// member takes the name of the StatefulSet.
func (a *autoShard) member(set string) error {
	number, err := strconv.ParseInt(strings.TrimPrefix(a.pod, set+"-"), 10, 32)
	if err != nil || number < 0 {
		return fmt.Errorf("pod %s/%s has no number in StatefulSet %s: give --shard and --total-shards", a.namespace, a.pod, set)
	}
	a.ordinal = int32(number)
	kind := &bound{
		name: "statefulsets", version: appsv1.SchemeGroupVersion, namespaced: true,
		newList: func() runtime.Object { return &appsv1.StatefulSetList{} },
		render:  renderReplicas,
		without: "give --shard and --total-shards",
	}
	e := a.exporter
	follow := e.follow(e.client.groups[kind.version])
	follow.shards, follow.limit = wholeSharding(), 0
	a.set = newSource(kind, scope{a.namespace, fields.OneTermEqualSelector("metadata.name", set).String()}, follow)
	a.set.store.changed = a.changed
	return nil
}

// renderReplicas keeps of a StatefulSet how many pods it wants.
func renderReplicas(object runtime.Object) (*rendered, error) {
	set, ok := object.(*appsv1.StatefulSet)
	if !ok {
		return nil, fmt.Errorf("got a %T among the statefulsets", object)
	}
	replicas := int32(1)
	if set.Spec.Replicas != nil {
		replicas = *set.Spec.Replicas
	}
	text := strconv.AppendInt(nil, int64(replicas), 10)
	return newRendered(key{set.Namespace, set.Name}, strings.Clone(set.ResourceVersion), text, []uint32{uint32(len(text))}, nil), nil
}

func (a *autoShard) changed() {
	text := ""
	a.set.store.each(0, func(_ *entry, lines []byte) { text = string(lines) })
	if text == "" {
		return // it is about to be made anew, or this pod to end
	}
	total, err := strconv.Atoi(text)
	if err == nil && a.exporter.shards.set(Shard{a.ordinal, total}) {
		a.exporter.logger.Info("following one shard of the objects", "shard", a.ordinal, "total", total)
	}
}

// wholeSharding is the part that is everything.
func wholeSharding() *sharding {
	s := newSharding()
	s.set(Shard{0, 1})
	return s
}

// apiGroup is a version of a group of the API, and what can decode it.
type apiGroup struct {
	version schema.GroupVersion
	addTo   func(*runtime.Scheme) error
}
