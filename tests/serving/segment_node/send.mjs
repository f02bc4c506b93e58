// Sends one message of each call through Segment's own client, which knows nothing but another host, and prints what
// the client says of each: the id of the message, or why it could not be delivered.
import { Analytics } from "@segment/analytics-node";

const { API, KEY, SENDER } = process.env;
const analytics = new Analytics({ writeKey: KEY, host: API, flushAt: 6, maxRetries: 0 });
const userId = `${SENDER}-user`;
const anonymousId = `${SENDER}-visitor`;
const timestamp = new Date(Date.now() - 3600e3);

const send = (call, message) =>
  new Promise((resolve) => {
    analytics[call]({ timestamp, ...message }, (error, context) => {
      const reason = error ?? context?.failedDelivery?.()?.reason;
      resolve(reason ? `${call} failed: ${reason.message ?? reason}` : `${call} ${context.event.messageId}`);
    });
  });

const sent = [
  send("page", { anonymousId, name: "Home" }),
  send("identify", { userId, anonymousId, traits: { email: "jo@example.com" } }),
  send("track", { userId, event: "Product Viewed", properties: { category: "beef" } }),
  send("screen", { userId, name: "Start" }),
  send("alias", { userId, previousId: `${anonymousId}-before` }),
  send("group", { userId, groupId: "g1" }),
];
console.log((await Promise.all(sent)).join("\n"));
await analytics.closeAndFlush();
