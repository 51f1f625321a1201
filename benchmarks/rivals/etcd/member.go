// One etcd member inside a program of one's own, loaded in the same process: no gRPC, as fast as etcd can be had.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"os"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.etcd.io/etcd/embed"
	pb "go.etcd.io/etcd/etcdserver/etcdserverpb"
	"go.etcd.io/etcd/pkg/transport"
)

const pollEvery = 200 * time.Microsecond
const tryFor = 50 * time.Millisecond
const giveUpAfter = 30 * time.Second

type settings struct {
	Name           string `json:"name"`
	Directory      string `json:"directory"`
	PeerURL        string `json:"peer_url"`
	ClientURL      string `json:"client_url"`
	InitialCluster string `json:"initial_cluster"`
	Certificates   string `json:"certificates"`
	CommandBytes   int    `json:"command_bytes"`
	Keys           int    `json:"keys"`
	QuotaBytes     int64  `json:"quota_bytes"`
}

type member struct {
	etcd     *embed.Etcd
	keys     []string
	value    []byte
	openedAt atomic.Value
}

func open(told settings) (*member, error) {
	config := embed.NewConfig()
	config.Name, config.Dir, config.InitialCluster = told.Name, told.Directory, told.InitialCluster
	config.Logger, config.LogLevel = "zap", "error"
	config.QuotaBackendBytes = told.QuotaBytes
	peer, err := url.Parse(told.PeerURL)
	if err != nil {
		return nil, err
	}
	client, err := url.Parse(told.ClientURL)
	if err != nil {
		return nil, err
	}
	config.LPUrls, config.APUrls = []url.URL{*peer}, []url.URL{*peer}
	config.LCUrls, config.ACUrls = []url.URL{*client}, []url.URL{*client}
	if told.Certificates != "" {
		config.PeerTLSInfo = transport.TLSInfo{
			CertFile:       told.Certificates + "/cert.pem",
			KeyFile:        told.Certificates + "/key.pem",
			TrustedCAFile:  told.Certificates + "/ca.pem",
			ClientCertAuth: true,
		}
	}
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return nil, err
	}
	here := &member{etcd: etcd}
	here.openedAt.Store(0.0)
	keys, value := makeKeys(told.Keys, told.CommandBytes)
	here.keys, here.value = keys, []byte(value)
	go func() {
		<-etcd.Server.ReadyNotify()
		here.openedAt.Store(monotonicSeconds())
	}()
	return here, nil
}

func (m *member) answer(asked request) (report, error) {
	switch asked.Ask {
	case "status":
		return m.status(), nil
	case "load":
		return asked.Order.run(func(caller, callers, size int) call { return m.newCall(asked.Order.Mode, caller, callers, size) }), nil
	case "fill":
		return m.fill(asked.Count)
	case "wait applied":
		for m.etcd.Server.KV().Rev() < asked.Count {
			time.Sleep(pollEvery)
		}
		found := m.status()
		found["reached_at"] = monotonicSeconds()
		return found, nil
	case "take over":
		return m.takeOver()
	}
	return nil, errors.New("no such request: " + asked.Ask)
}

func (m *member) status() report {
	server := m.etcd.Server
	return report{
		"leads":     server.Leader() == server.ID(),
		"leader":    server.Lead(),
		"term":      server.Term(),
		"revision":  server.KV().Rev(),
		"opened_at": m.openedAt.Load(),
		"syncs":     countSyncs(),
	}
}

// takeOver waits until another one leads than now; if it is this member, it commits, and says when.
func (m *member) takeOver() (report, error) {
	server := m.etcd.Server
	before := server.Leader()
	for giveUp := time.Now().Add(giveUpAfter); time.Now().Before(giveUp); time.Sleep(pollEvery) {
		now := server.Leader()
		if now == before || now == 0 {
			continue
		}
		if now != server.ID() {
			return report{"took_over": false}, nil
		}
		gainedAt, failures := monotonicSeconds(), 0
		for server.Leader() == server.ID() {
			limited, cancel := context.WithTimeout(context.Background(), tryFor)
			_, err := server.Put(limited, &pb.PutRequest{Key: []byte(m.keys[0]), Value: m.value})
			cancel()
			if err == nil {
				return report{
					"took_over":    true,
					"gained_at":    gainedAt,
					"committed_at": monotonicSeconds(),
					"failures":     failures, // They may be committed yet.
				}, nil
			}
			failures++
		}
	}
	return nil, errors.New("nobody took over")
}

func (m *member) newCall(mode string, caller, callers, size int) call {
	server, background := m.etcd.Server, context.Background()
	next := caller * size % len(m.keys)
	step := func() []byte {
		key := m.keys[next]
		next = (next + 1) % len(m.keys)
		return []byte(key)
	}
	switch mode {
	case "many":
		return func() error {
			puts := make([]*pb.RequestOp, size)
			for place := range puts {
				put := &pb.PutRequest{Key: step(), Value: m.value}
				puts[place] = &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: put}}
			}
			_, err := server.Txn(background, &pb.TxnRequest{Success: puts})
			return err
		}
	case "read":
		return func() error {
			found, err := server.Range(background, &pb.RangeRequest{Key: step()})
			if err == nil && len(found.Kvs) == 0 {
				err = errors.New("the value is not there: measured something else")
			}
			return err
		}
	}
	return func() error {
		_, err := server.Put(background, &pb.PutRequest{Key: step(), Value: m.value})
		return err
	}
}

// fill commits that many puts, key after key, in transactions.
func (m *member) fill(count int64) (report, error) {
	fillOnce := m.newCall("many", 0, 1, mostPutsPerTransaction)
	var done, calls int64
	for ; done < count; done += mostPutsPerTransaction {
		if err := fillOnce(); err != nil {
			return nil, err
		}
		calls++
	}
	return report{"acknowledged": done, "calls": calls}, nil
}

// countSyncs returns how often this process has synced its log.
func countSyncs() uint64 {
	families, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		fail(err)
	}
	for _, family := range families {
		if family.GetName() == "etcd_disk_wal_fsync_duration_seconds" {
			return family.GetMetric()[0].GetHistogram().GetSampleCount()
		}
	}
	return 0
}

func main() {
	var told settings
	if err := json.Unmarshal([]byte(os.Args[1]), &told); err != nil {
		fail(err)
	}
	here, err := open(told)
	if err != nil {
		fail(err)
	}
	serve(here.answer)
}
