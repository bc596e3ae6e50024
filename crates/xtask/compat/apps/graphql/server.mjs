// A GraphQL server with a subscription, on node:http.

import http from 'node:http';

import { createPubSub, createSchema, createYoga } from 'graphql-yoga';

const pubSub = createPubSub();
let count = 0;

const schema = createSchema({
  typeDefs: `
    type Query { count: Int!, upper(text: String!): String! }
    type Mutation { add(by: Int!): Int!, length(file: File!): Int! }
    type Subscription { counted: Int!, countdown(from: Int!): Int! }
    scalar File
  `,
  resolvers: {
    Query: { count: () => count, upper: (_, { text }) => text.toUpperCase() },
    Mutation: {
      add: (_, { by }) => {
        count += by;
        pubSub.publish('counted', { counted: count });
        return count;
      },
      length: async (_, { file }) => (await file.arrayBuffer()).byteLength,
    },
    Subscription: {
      counted: { subscribe: () => pubSub.subscribe('counted') },
      countdown: {
        subscribe: async function* (_, { from }) {
          for (let countdown = from; countdown >= 0; countdown -= 1) {
            await new Promise((resolve) => setTimeout(resolve, 10));
            yield { countdown };
          }
        },
      },
    },
  },
});

const server = http.createServer(createYoga({ schema, logging: false }));
server.listen(Number(process.env.PORT), '127.0.0.1');
process.on('SIGTERM', () => {
  server.close(() => process.exit(0));
  server.closeAllConnections();
});
