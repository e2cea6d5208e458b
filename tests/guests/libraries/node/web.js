const express = require('express');
const serverless = require('serverless-http');

const app = express();
app.use(express.json());
app.get('/orders/:number', (request, response) => {
  response.json({ number: request.params.number, details: request.query.details });
});
app.post('/orders', (request, response) => {
  response.status(201).json({ amount: request.body.amount });
});

module.exports.handler = serverless(app);
