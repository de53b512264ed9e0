package main

import (
	"fmt"
	"math/rand"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A campaign is over long before the service was killed so often.
const killsMax = 8

// A worker runs one campaign after the other, each with some clients, until there is no more to do.
type worker struct {
	run      *run
	number   int
	random   *rand.Rand
	users    int64 // of one campaign
	requests int   // of one campaign: new requests, without repetitions
	clients  int
}

// sale is one campaign and what its clients saw.
type sale struct {
	worker *worker
	head   line
	mutex  sync.Mutex
	lines  []line
	keyed  []line // accepted requests with a key, to be repeated
	mine   []line // accepted requests, to be cancelled
	asked  int
}

// start creates the next campaign. Odd workers have a limit of several units.
func (worker *worker) start() (*sale, error) {
	stock, limit, most := 10+worker.random.Int63n(worker.run.stock), int64(1), int64(1)
	if worker.number%2 == 1 {
		limit, most = 2+worker.random.Int63n(3), 2
	}
	isCancellable := worker.random.Intn(3) > 0
	made, err := worker.run.service.askUntil(http.StatusCreated, "/api/admin/campaigns", map[string]any{
		"name": fmt.Sprintf("porcupine %d", worker.number), "kind": "general", "totalStock": stock,
		"perUserLimit": limit, "maxQuantity": most, "cancellable": isCancellable,
	})
	if err != nil {
		return nil, err
	}
	worker.users, worker.requests = stock*3/2, int(stock)*worker.run.requests
	head := line{
		Op: "campaign", Campaign: made.CampaignID, Stock: &stock, Limit: limit, Max: most, Cancellable: isCancellable,
		Hold: worker.run.hold.Nanoseconds(), Lag: worker.run.lag.Nanoseconds(), Age: (100 * time.Millisecond).Nanoseconds(),
	}
	return &sale{worker: worker, head: head}, nil
}

// sell runs one campaign from its creation to the reading of all its participations.
func (worker *worker) sell() error {
	sale, err := worker.start()
	if err != nil {
		return err
	}
	var group sync.WaitGroup
	for nth := range worker.clients {
		client := &client{
			sale: sale, number: worker.number*worker.clients + nth, random: rand.New(rand.NewSource(worker.random.Int63())),
		}
		group.Add(1)
		go func() {
			defer group.Done()
			for sale.next() {
				client.act()
			}
		}()
	}
	group.Wait()
	if err := sale.readAll(); err != nil {
		return err
	}
	if err := sale.close(); err != nil {
		return err
	}
	worker.run.mutex.Lock()
	sale.head.Unsettled = slices.Clone(worker.run.kills)
	worker.run.mutex.Unlock()
	return worker.run.history.write(append([]line{sale.head}, sale.lines...))
}

// next is whether there is another wish in this campaign.
func (sale *sale) next() bool {
	sale.mutex.Lock()
	defer sale.mutex.Unlock()
	sale.asked++
	return sale.asked <= sale.worker.requests && !sale.worker.run.isOver()
}

func (sale *sale) record(one line) {
	sale.mutex.Lock()
	defer sale.mutex.Unlock()
	one.Campaign = sale.head.Campaign
	sale.lines = append(sale.lines, one)
	if one.Op == "participate" && one.Outcome == "accepted" {
		sale.mine = append(sale.mine, one)
		if one.Key != "" {
			sale.keyed = append(sale.keyed, one)
		}
	}
}

// one returns one of these lines, if there are any.
func (sale *sale) one(of *[]line, random *rand.Rand) (line, bool) {
	sale.mutex.Lock()
	defer sale.mutex.Unlock()
	if len(*of) == 0 {
		return line{}, false
	}
	return (*of)[random.Intn(len(*of))], true
}

// readAll reads all participations, from the beginning if the service dies meanwhile.
func (sale *sale) readAll() error {
	service := sale.worker.run.service
	end := line{Op: "end", Campaign: sale.head.Campaign, Call: service.now()}
	path := fmt.Sprintf("/api/admin/campaigns/%d/participations?limit=100", sale.head.Campaign)
	cursor := ""
	for {
		page, err := service.askUntil(http.StatusOK, path+cursor, nil)
		if err != nil {
			return err
		}
		for _, item := range page.Items {
			sale.record(line{
				Op: "row", User: item.User, ID: item.ID, Rank: item.Rank, Quantity: item.Quantity,
				Remaining: item.Remaining, Status: fmt.Sprint(item.Status),
			})
			end.Rows++
		}
		if page.NextCursor == "" {
			break
		}
		cursor = "&cursor=" + page.NextCursor
	}
	end.Return = service.now()
	sale.record(end)
	return nil
}

// close ends the campaign, so that the service does not sweep thousands of them. It may have been closed by a request
// whose response was lost.
func (sale *sale) close() error {
	path := fmt.Sprintf("/api/admin/campaigns/%d/close", sale.head.Campaign)
	last, err := sale.worker.run.service.askUntil(http.StatusOK, path, map[string]any{})
	if last.status == http.StatusConflict {
		return nil
	}
	return err
}
