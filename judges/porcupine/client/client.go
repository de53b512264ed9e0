package main

import (
	"fmt"
	"math/rand"
	"net/http"
	"time"
)

// client sends one request at a time.
type client struct {
	sale   *sale
	number int
	random *rand.Rand
	sent   int
}

// act does one thing: most often, it participates.
func (client *client) act() {
	service := client.sale.worker.run.service
	service.waitWhileDown()
	cancellations := client.sale.worker.run.cancellations
	switch dice := client.random.Intn(100); {
	case dice < 12:
		// A key again, sometimes with another body.
		if again, is := client.sale.one(&client.sale.keyed, client.random); is {
			if client.random.Intn(4) == 0 && client.sale.head.Max > 1 {
				again.Quantity = 3 - again.Quantity
			}
			client.participate(again)
		}
	case dice < 12+cancellations:
		if mine, is := client.sale.one(&client.sale.mine, client.random); is {
			client.cancel(mine)
		}
	case dice < 22+cancellations:
		client.readStock()
	default:
		client.participate(client.wish())
	}
}

// wish is a new request. Two users in five send keys.
func (client *client) wish() line {
	client.sent++
	wish := line{
		User:     1 + client.random.Int63n(client.sale.worker.users),
		Quantity: 1 + client.random.Int63n(client.sale.head.Max),
	}
	if wish.User%5 < 2 {
		wish.Key = fmt.Sprintf("%d-%d-%d", client.sale.head.Campaign, client.number, client.sent)
	}
	return wish
}

// participate repeats a request with a key until the outcome is known; sometimes a second client sends it, too.
func (client *client) participate(wish line) {
	if wish.Key != "" && client.random.Intn(10) == 0 {
		other := make(chan struct{})
		go func() {
			defer close(other)
			client.participateOnce(wish, "participation")
		}()
		defer func() { <-other }()
	}
	way := "participation"
	if client.random.Intn(client.sale.worker.run.syncEvery) == 0 {
		way = "participation-sync"
	}
	for began := time.Now(); time.Since(began) < patienceRestart; {
		outcome := client.participateOnce(wish, way)
		if wish.Key == "" || outcome != "unknown" && outcome != "nothing" {
			return
		}
		time.Sleep(time.Duration(50+client.random.Intn(100)) * time.Millisecond)
		client.sale.worker.run.service.waitWhileDown()
	}
}

func (client *client) participateOnce(wish line, way string) string {
	path := fmt.Sprintf("/api/campaigns/%d/%s", client.sale.head.Campaign, way)
	body := map[string]any{"userId": wish.User, "quantity": wish.Quantity}
	answer := client.sale.worker.run.service.ask(wish.User, path, wish.Key, body)
	outcome, ok := answer.outcome()
	if outcome == "accepted" {
		ok = ok && answer.User == wish.User && answer.Quantity == wish.Quantity
	}
	client.sale.worker.run.expect(ok, path, answer)
	one := line{
		Op: "participate", Client: client.number, User: wish.User, Key: wish.Key, Quantity: wish.Quantity,
		Call: answer.call, Return: answer.back, Outcome: outcome,
	}
	if outcome == "accepted" || outcome == "already" {
		one.ID = answer.ID
	}
	if outcome == "accepted" {
		one.Rank, one.Remaining = answer.Rank, answer.Remaining
	}
	client.sale.record(one)
	return outcome
}

func (client *client) cancel(mine line) {
	path := "/api/participations/" + mine.ID + "/cancel"
	answer := client.sale.worker.run.service.ask(mine.User, path, "", map[string]any{})
	outcome, ok := answer.cancelOutcome()
	client.sale.worker.run.expect(ok, path, answer)
	client.sale.record(line{
		Op: "cancel", Client: client.number, User: mine.User, ID: mine.ID, Call: answer.call, Return: answer.back,
		Outcome: outcome,
	})
}

func (client *client) readStock() {
	path := fmt.Sprintf("/api/campaigns/%d/stock", client.sale.head.Campaign)
	answer := client.sale.worker.run.service.ask(0, path, "", nil)
	if answer.status != http.StatusOK || answer.CurrentStock == nil {
		_, ok := answer.otherOutcome()
		client.sale.worker.run.expect(ok, path, answer)
		return
	}
	client.sale.record(line{
		Op: "stock", Client: client.number, Call: answer.call, Return: answer.back, Units: *answer.CurrentStock,
	})
}
