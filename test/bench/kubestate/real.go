package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/strata-metrics/strata/test/bench/figure"
)

// writers is how many requests are under way at once.
const writers = 16

// realServer is an API server with etcd behind it, which the benchmark has
// filled. Nothing but the benchmark writes to it.
type realServer struct {
	client   kubernetes.Interface
	maker    *maker
	pods     []*corev1.Pod
	restarts int
}

// fill gives an API server so many pods and what they belong to.
func fill(ctx context.Context, report *figure.Reporter, kubeconfig string, pods int) (*realServer, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("--kubeconfig: %w", err)
	}
	config.QPS, config.ContentType, config.WarningHandler = -1, runtime.ContentTypeProtobuf, rest.NoWarnings{}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("client of %s: %w", config.Host, err)
	}
	there, err := client.CoreV1().Pods("").List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", config.Host, err)
	}
	if len(there.Items) > 0 {
		return nil, fmt.Errorf("%s has pods already: give a server that is there for this alone", config.Host)
	}
	r := &realServer{client: client, maker: newMaker(), pods: make([]*corev1.Pod, pods)}
	begin, all := time.Now(), r.maker.cluster(pods)
	for i := range namespaces {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("team-%02d", i)}}
		if _, err := client.CoreV1().Namespaces().Create(ctx, namespace, metav1.CreateOptions{}); err != nil {
			return nil, fmt.Errorf("namespace %s: %w", namespace.Name, err)
		}
	}
	for _, plural := range []string{"nodes", "deployments", "replicasets", "pods"} {
		if err := parallel(ctx, len(all[plural]), func(ctx context.Context, i int) error { return r.create(ctx, all[plural][i], i) }); err != nil {
			return nil, err
		}
	}
	report.Note("%s filled in %.0f s", config.Host, time.Since(begin).Seconds())
	return r, nil
}

// create makes an object and then its status, which is not taken together.
func (r *realServer) create(ctx context.Context, object runtime.Object, i int) error {
	m, err := meta.Accessor(object)
	if err != nil {
		return err
	}
	m.SetManagedFields(nil)
	var no metav1.CreateOptions
	var nor metav1.UpdateOptions
	switch o := object.(type) {
	case *corev1.Node:
		status := o.Status
		if o, err = r.client.CoreV1().Nodes().Create(ctx, o, no); err == nil {
			o.Status = status
			_, err = r.client.CoreV1().Nodes().UpdateStatus(ctx, o, nor)
		}
	case *appsv1.Deployment:
		status := o.Status
		if o, err = r.client.AppsV1().Deployments(o.Namespace).Create(ctx, o, no); err == nil {
			o.Status = status
			_, err = r.client.AppsV1().Deployments(o.Namespace).UpdateStatus(ctx, o, nor)
		}
	case *appsv1.ReplicaSet:
		status := o.Status
		if o, err = r.client.AppsV1().ReplicaSets(o.Namespace).Create(ctx, o, no); err == nil {
			o.Status = status
			_, err = r.client.AppsV1().ReplicaSets(o.Namespace).UpdateStatus(ctx, o, nor)
		}
	case *corev1.Pod:
		status := o.Status
		if o, err = r.client.CoreV1().Pods(o.Namespace).Create(ctx, o, no); err == nil {
			o.Status = status
			r.pods[i], err = r.client.CoreV1().Pods(o.Namespace).UpdateStatus(ctx, o, nor)
		}
	}
	if err != nil {
		return fmt.Errorf("making %T %s: %w", object, m.GetName(), err)
	}
	return nil
}

func (r *realServer) change(ctx context.Context, n int) error {
	var changed []*corev1.Pod
	places := rand.Perm(len(r.pods))[:n]
	for _, i := range places { // one after the other, since chance is not for many at once
		changed = append(changed, r.maker.restart(r.pods[i]))
	}
	err := parallel(ctx, n, func(ctx context.Context, i int) (err error) {
		r.pods[places[i]], err = r.client.CoreV1().Pods(changed[i].Namespace).UpdateStatus(ctx, changed[i], metav1.UpdateOptions{})
		return err
	})
	if err != nil {
		return fmt.Errorf("changing pods: %w", err)
	}
	r.restarts += n
	return nil
}

func (r *realServer) begun() int { return r.restarts }

// parallel does n things, some at once, until one fails.
func parallel(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var all sync.WaitGroup
	for range writers {
		all.Go(func() {
			for i := range next {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	all.Wait()
	return context.Cause(ctx)
}
