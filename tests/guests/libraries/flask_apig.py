from apig_wsgi import make_lambda_handler
from flask import Flask, jsonify, request

app = Flask(__name__)


@app.get("/orders/<int:number>")
def read(number):
    return jsonify(number=number, details=request.args.get("details"))


@app.post("/orders")
def make():
    return jsonify(amount=request.get_json()["amount"]), 201


handler = make_lambda_handler(app)
